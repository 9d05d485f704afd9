"""Where a convolution is worked on: padded memory and a kernel for each size of block."""

from __future__ import annotations

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.kernel import Kernel, Method, Task
from service.engine.layers.staging import clear, direct, fill, spill
from service.engine.layers.valid import valid_steps
from service.engine.layers.window import space_first


class Bench:
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
        valid = None if self._valid is None else self._valid[..., rows, :]
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
        as_it_lies = (
            direct(self.task, split, outer) if self.alone and self._valid is None and not self.method.planes else None
        )
        if as_it_lies is not None:
            return as_it_lies
        shape = (*(split if max(split) > 1 else ()), *cells, rows)
        if self.method.planes:
            return np.moveaxis(self.site.loose(f"{name}{rows}", (self.task.channels, *shape)), 0, -1)
        return self.site.loose(f"{name}{rows}", (*shape, self.task.channels))
