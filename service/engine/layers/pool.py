"""Pooling: one number for each window of space, the largest or the mean."""

from __future__ import annotations

from functools import partial

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Layout, Shape, Site, Step
from service.engine.layers.kernel import Task, blocks_of, in_turn, taps
from service.engine.layers.staging import clear, direct, fill, spill
from service.engine.layers.window import AROUND, Padding, Window, space_first, window


class Pool(LayerSpec):
    """What pools of every rank share; each says its own `pool_size` and `strides`."""

    kind: str = ""
    padding: Padding = Field(default="valid", description=AROUND)

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(pool size, strides)"""
        raise NotImplementedError

    def window(self, shape: Shape) -> Window:
        size, strides = self.extents
        return window(shape, size, strides, (1,) * len(size), self.padding, "pool_size")

    def plan(self, shape: Shape) -> LayerPlan:
        w = self.window(shape)
        out = Shape((*w.out, shape.dims[-1]))
        warnings = ("the output of shorter rows includes their padding",) if shape.timed else ()
        return LayerPlan(out, flops=out.size * int(np.prod(w.kernel)), warnings=warnings)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        block = blocks_of(rows, self._per_block_row(shape, plan))[0].stop
        padded = 2 * shape.size if self.padding != "valid" else 0
        holes = int(np.prod(self.window(shape).kernel))
        masks = rows * plan.shape.size * holes // 4 if backward else 0
        return int(block * (2 * plan.shape.size + padded) + masks)

    def _per_block_row(self, shape: Shape, plan: LayerPlan) -> int:
        return 2 * shape.size + 2 * plan.shape.size

    def layout(self, shape: Shape, rows: int) -> Layout:
        return space_first(len(shape.dims) - 1)

    def bind(self, site: Site) -> tuple[Step, Step]:
        w = self.window(site.shape)
        task = Task(w, (1,) * len(w.out), w.out, site.x.shape[-1], site.x.shape[-1], 1)
        order, forward, backward = space_first(task.rank), list[Step](), list[Step]()
        x, y = site.x.transpose(order), site.y.transpose(order)
        dx, dy = None, y
        if site.backward and site.dx is not None:
            dx, dy = site.dx.transpose(order), site.dy.transpose(order)
        for rows in blocks_of(site.rows, self._per_block_row(site.shape, site.plan)):
            at = (*(slice(None),) * task.rank, rows)
            ahead, back = self._block(task, site, rows, x[at], y[at], None if dx is None else dx[at], dy[at])
            forward += ahead
            backward += back
        return in_turn(*forward), in_turn(*backward)

    def _block(
        self, task: Task, site: Site, rows: slice, x: Array, y: Array, dx: Array | None, dy: Array
    ) -> tuple[list[Step], list[Step]]:
        split, n = (1,) * task.rank, rows.stop - rows.start
        inner, d_inner, into, out = direct(task, split, x), None, list[Step](), list[Step]()
        if inner is None:
            inner = site.loose(f"x{n}", (*task.reads, n, task.channels))
            into = [partial(inner.fill, self._nothing()), *fill(task, split, inner, x, None)]
        if dx is not None:
            d_inner = direct(task, split, dx)
            out = clear(task, dx)
            if d_inner is None:
                d_inner = site.loose(f"dx{n}", inner.shape)
                out = spill(task, split, d_inner, dx, None)
        seen = by_hole(taps(inner, task), task)
        to = None if d_inner is None else by_hole(taps(d_inner, task), task)
        ahead, back = self._reduce(task, site, rows, seen, to, y, dy)
        clean: list[Step] = [] if d_inner is None else [partial(d_inner.fill, 0)]
        return [*into, *ahead], [*clean, *back, *out] if to is not None else []

    def _nothing(self) -> float:
        """What padding counts as."""
        raise NotImplementedError

    def _reduce(
        self, task: Task, site: Site, rows: slice, seen: list[Array], to: list[Array] | None, y: Array, dy: Array
    ) -> tuple[list[Step], list[Step]]:
        raise NotImplementedError


def by_hole(seen: Array, task: Task) -> list[Array]:
    """For each hole (*positions, rows, channels)."""
    r = task.rank
    return [seen[(*(0,) * r, *(slice(None),) * r, *hole)] for hole in np.ndindex(*task.window.kernel)]
