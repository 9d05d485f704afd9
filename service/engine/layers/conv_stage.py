"""One convolution with what may ride along: bias, ReLU and a max pool, block by block within the cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.conv_columns import columns
from service.engine.layers.conv_depthwise import depthwise, is_depthwise
from service.engine.layers.epilogue import epilogue
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, blocks_of, in_turn
from service.engine.layers.staging import clear, direct, fill, spill
from service.engine.layers.valid import valid_steps
from service.engine.layers.window import Window, space_first
from service.engine.layers.winograd import fits_winograd, winograd


@dataclass(frozen=True, slots=True)
class Stage:
    """What is to be done: the convolution, its bias, ReLU, and the maximum over windows of `pool`."""

    window: Window
    groups: int
    relu: bool = False
    pool: tuple[int, ...] | None = None

    def choose(self, channels: int, filters: int, rows: int) -> tuple[Task, Algorithm]:
        """The fastest way there is for these sizes."""
        task = self._task(channels, filters, self.pool or (1,) * len(self.window.out))
        if is_depthwise(task):
            return task, depthwise
        if len(self.window.out) == 2 and self.pool in (None, (2, 2)):
            tiled = self._task(channels, filters, (2, 2))
            if fits_winograd(tiled, rows):
                return tiled, winograd
        return task, columns

    def _task(self, channels: int, filters: int, phase: tuple[int, ...]) -> Task:
        each = zip(self.window.out, phase, strict=True)
        grid = tuple(o // p if self.pool else -(-o // p) for o, p in each)
        return Task(self.window, phase, grid, channels, filters, self.groups)


def bind_stage(stage: Stage, site: Site) -> tuple[Step, Step]:
    """(forward, backward) of the whole stage over the site's arrays."""
    task, algorithm = stage.choose(site.x.shape[-1], site.y.shape[-1], site.rows)
    method = algorithm(task, site)
    blocks = blocks_of(site.rows, method.per_row)
    bench = _Bench(task, method, site, len(blocks) == 1)
    riders = epilogue(task, stage.relu, stage.pool is not None, method.biased, blocks, site)
    forward: list[Step] = [*bench.begin, *method.prepare]
    if riders.tile is not None:
        forward.append(partial(np.copyto, riders.tile, site.theta["bias"]))
    backward: list[Step] = [*method.begin]
    for i, rows in enumerate(blocks):
        kernel, into, out = bench.block(rows)
        forward += [*into, kernel.forward, *riders.forward(rows, kernel, bench.cut(site.y, rows))]
        if site.backward:
            again = [] if bench.alone else into
            ends = riders.backward(i, rows, kernel, bench.cut(site.dy, rows))
            backward += [*again, *ends, kernel.backward, *out]
    if riders.db is not None:
        flat = riders.db.reshape(-1, task.filters)
        backward.append(partial(np.ones(len(flat), site.dtype).dot, flat, site.gradient["bias"]))
    return in_turn(*forward), in_turn(*backward, *method.finish)


class _Bench:
    """Where the blocks of one stage are worked on; blocks of the same size share a kernel and its memory."""

    def __init__(self, task: Task, method: Method, site: Site, alone: bool) -> None:
        self.task, self.method, self.site, self.alone = task, method, site, alone
        self.begin, self._valid = valid_steps(site)
        self._kernels: dict[int, tuple[Array, Array | None, Kernel]] = {}

    def cut(self, array: Array, rows: slice) -> Array:
        """(*space, rows, channels) of these rows."""
        return array.transpose(space_first(self.task.rank))[(*(slice(None),) * self.task.rank, rows)]

    def block(self, rows: slice) -> tuple[Kernel, list[Step], list[Step]]:
        """The kernel for these rows, the steps that bring their input in, and those that bring the gradient out."""
        x, dx = self.cut(self.site.x, rows), None if self.site.dx is None else self.cut(self.site.dx, rows)
        valid = None if self._valid is None else self._valid[:, rows]
        inner, d_inner, kernel = self._kernel(rows.stop - rows.start, x, dx)
        into = [] if np.may_share_memory(inner, x) else fill(self.task, self.method.split, inner, x, valid)
        if dx is None or d_inner is None:
            return kernel, into, []
        if np.may_share_memory(d_inner, dx):
            return kernel, into, clear(self.task, dx)
        return kernel, into, spill(self.task, self.method.split, d_inner, dx, valid)

    def _kernel(self, rows: int, x: Array, dx: Array | None) -> tuple[Array, Array | None, Kernel]:
        if rows not in self._kernels:
            inner, d_inner = None, None
            if self.alone and self._valid is None:
                inner, d_inner = (
                    direct(self.task, self.method.split, x),
                    None if dx is None else direct(self.task, self.method.split, dx),
                )
            shape = (*self.method.split, *self.method.cells, rows, self.task.channels)
            shape = shape if max(self.method.split) > 1 else shape[self.task.rank :]
            if inner is None:
                inner = self.site.loose(f"x{rows}", shape)
            if d_inner is None and dx is not None:
                d_inner = self.site.loose(f"dx{rows}", shape)
            self._kernels[rows] = inner, d_inner, self.method.bind(inner, d_inner, self.alone)
        return self._kernels[rows]
