"""What a way of convolving must offer: the same work bound for a block of rows, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from service.engine.contract import Array, Site, Step
from service.engine.layers.window import Window

BLOCK = 400_000  # numbers a block may work on: 1.6 MB of the second-level cache in float32


@dataclass(frozen=True, slots=True)
class Task:
    """A convolution as numbers. Positions of the output lie in `phase` interleaved parts of `grid` positions each:
    a pool of that size takes its maximum over the parts, and positions behind phase * grid are never computed.
    """

    window: Window
    phase: tuple[int, ...]
    grid: tuple[int, ...]
    channels: int
    filters: int
    groups: int

    @property
    def rank(self) -> int:
        return len(self.grid)

    @property
    def parts(self) -> int:
        return int(np.prod(self.phase))

    @property
    def positions(self) -> int:
        """Positions of one part, for one row."""
        return int(np.prod(self.grid))

    def each_part(self) -> list[tuple[int, ...]]:
        """Where each part begins, the last axis fastest."""
        return list(product(*(range(p) for p in self.phase)))

    def real(self, part: tuple[int, ...]) -> tuple[int, ...]:
        """How many positions of a part lie inside the output."""
        each = zip(part, self.window.out, self.phase, self.grid, strict=True)
        return tuple(min(len(range(start, out, p)), n) for start, out, p, n in each)

    @property
    def reads(self) -> tuple[int, ...]:
        """How far the padded input is read."""
        return self.window.needed([p * g for p, g in zip(self.phase, self.grid, strict=True)])


@dataclass(frozen=True, slots=True)
class Kernel:
    """A convolution bound to a block of rows.

    z: for each part (*grid, rows, filters); backward finds dz in the same arrays, adds to the weights' gradient
    and overwrites dx.
    """

    z: tuple[Array, ...]
    forward: Step
    backward: Step


@dataclass(frozen=True, slots=True)
class Method:
    """An algorithm for one layer.

    `split`: the padded input is wanted in so many interleaved parts per axis, (*split, *cells, rows, channels).
    `prepare` runs before the blocks of forward, `begin` and `finish` around those of backward. `bind(x, dx, alone)`:
    the kernel; alone means it is the only block, so what forward left is still there in backward. `biased`: z has
    the bias already, and backward sees to its gradient. `planes`: in memory the channels come first.
    """

    split: tuple[int, ...]
    cells: tuple[int, ...]
    bind: Callable[[Array, Array | None, bool], Kernel]
    prepare: tuple[Step, ...] = ()
    begin: tuple[Step, ...] = ()
    finish: tuple[Step, ...] = ()
    biased: bool = False
    planes: bool = False


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A way of convolving. `per_row(task)`: numbers of working memory for each row of a block; `fixed`: besides."""

    method: Callable[[Task, Site], Method]
    per_row: Callable[[Task], int]
    fixed: Callable[[Task], int]


def taps(x: Array, task: Task) -> Array:
    """(*phase, *grid, *kernel, rows, channels): what each position sees through each hole of the kernel; a view."""
    w, space = task.window, x.strides[: task.rank]
    step = [stride * s for stride, s in zip(w.strides, space, strict=True)]
    jump = [p * s for p, s in zip(task.phase, step, strict=True)]
    hole = [d * s for d, s in zip(w.dilation, space, strict=True)]
    shape = (*task.phase, *task.grid, *w.kernel, *x.shape[task.rank :])
    return as_strided(x, shape, (*step, *jump, *hole, *x.strides[task.rank :]))


def in_turn(*steps: Step) -> Step:
    """All of them, one after the other."""
    if len(steps) == 1:
        return steps[0]

    def run() -> None:
        for step in steps:
            step()

    return run


def overhang(task: Task, parts: tuple[Array, ...]) -> list[Step]:
    """Steps that set to nothing what of the parts lies outside the output."""
    found: list[Step] = []
    for z, part in zip(parts, task.each_part(), strict=True):
        for axis, (real, n) in enumerate(zip(task.real(part), task.grid, strict=True)):
            if real < n:
                found.append(partial(z[(*(slice(None),) * axis, slice(real, None))].fill, 0))
    return found


def corner(z: Array, extents: tuple[int, ...]) -> Array:
    """The first numbers of each of the first axes."""
    return z[tuple(slice(n) for n in extents)]


def blocks_of(rows: int, per_row: int) -> list[slice]:
    """Rows in blocks that fit the cache, of two sizes at most."""
    count = min(rows, -(-rows // max(1, BLOCK // per_row)))
    size, longer = divmod(rows, count)
    ends = [i * size + min(i, longer) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]
