"""One convolution with what may ride along: bias, ReLU and a max pool, block by block within the cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.conv_columns import COLUMNS
from service.engine.layers.conv_depthwise import DEPTHWISE, is_depthwise
from service.engine.layers.epilogue import epilogue
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, blocks_of, in_turn
from service.engine.layers.staging import clear, direct, fill, spill
from service.engine.layers.valid import valid_steps
from service.engine.layers.window import Window, space_first
from service.engine.layers.winograd import WINOGRAD, fits_winograd


@dataclass(frozen=True, slots=True)
class Stage:
    """What is to be done: the convolution, its bias, ReLU, and the maximum over windows of `pool`."""

    window: Window
    channels: int
    filters: int
    groups: int
    relu: bool = False
    pool: tuple[int, ...] | None = None

    def choose(self, rows: int, backward: bool) -> tuple[Task, Algorithm]:
        """The fastest way there is for these sizes."""
        task = self._task(self.pool or (1,) * len(self.window.out))
        if is_depthwise(task):
            return task, DEPTHWISE
        if len(self.window.out) == 2 and self.pool in (None, (2, 2)):
            tiled = self._task((2, 2))
            if fits_winograd(tiled, rows, backward):
                return tiled, WINOGRAD
        return task, COLUMNS

    def _task(self, phase: tuple[int, ...]) -> Task:
        each = zip(self.window.out, phase, strict=True)
        grid = tuple(o // p if self.pool else -(-o // p) for o, p in each)
        return Task(self.window, phase, grid, self.channels, self.filters, self.groups)

    def memory(self, rows: int, backward: bool) -> int:
        """Numbers of working memory, masks counted as a quarter."""
        task, algorithm = self.choose(rows, backward)
        per_row = algorithm.per_row(task)
        block = -(-rows // len(blocks_of(rows, per_row)))
        staged = int(np.prod(task.reads)) * task.channels * (2 if backward else 1)
        masks = task.parts * task.positions * task.filters // 4 if backward and (self.relu or self.pool) else 0
        return block * (per_row + staged) + rows * masks + algorithm.fixed(task)


def bind_stage(stage: Stage, site: Site) -> tuple[Step, Step]:
    """(forward, backward) of the whole stage over the site's arrays."""
    task, algorithm = stage.choose(site.rows, site.backward)
    method, blocks = algorithm.method(task, site), blocks_of(site.rows, algorithm.per_row(task))
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
        self._dx = site.dx if site.backward else None
        self._kernels: dict[int, tuple[Array, Array | None, Kernel]] = {}

    def cut(self, array: Array, rows: slice) -> Array:
        """(*space, rows, channels) of these rows."""
        return array.transpose(space_first(self.task.rank))[(*(slice(None),) * self.task.rank, rows)]

    def block(self, rows: slice) -> tuple[Kernel, list[Step], list[Step]]:
        """The kernel for these rows, the steps that bring their input in, and those that bring the gradient out."""
        x, dx = self.cut(self.site.x, rows), None if self._dx is None else self.cut(self._dx, rows)
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
            inner, d_inner = self._inner("x", rows, x), None if dx is None else self._inner("dx", rows, dx)
            self._kernels[rows] = inner, d_inner, self.method.bind(inner, d_inner, self.alone)
        return self._kernels[rows]

    def _inner(self, name: str, rows: int, outer: Array) -> Array:
        """Padded memory for a block of this size; the array itself when it can be read as it lies."""
        split, cells = self.method.split, self.method.cells
        as_it_lies = direct(self.task, split, outer) if self.alone and self._valid is None else None
        if as_it_lies is not None:
            return as_it_lies
        return self.site.loose(f"{name}{rows}", (*(split if max(split) > 1 else ()), *cells, rows, self.task.channels))
