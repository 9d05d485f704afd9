"""What rides along with a convolution: bias, ReLU and the maximum over the parts of its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.fast import clip
from service.engine.layers.kernel import Kernel, Task, corner, overhang


@dataclass(frozen=True, slots=True)
class Epilogue:
    """y = relu(max over the parts of z, plus b); part by part without a pool.

    The maximum comes first: it commutes with the others, and leaves a quarter of the numbers for a 2 x 2 pool.
    `tile`: (most rows of a block, filters), the bias, so that runs are as long as a block is wide.
    `db`: (blocks, parts, filters). `passes`: flat, (parts or 1) * y.size: where a gradient comes through to a part of
    z; of equals the first one gets it, as in PyTorch. None when all passes, or without backward.
    """

    task: Task
    relu: bool
    pool: bool
    tile: Array | None
    db: Array | None
    passes: Array | None

    def forward(self, rows: slice, kernel: Kernel, y: Array) -> list[Step]:
        passes = self._passes(rows, y)
        if not self.pool:
            steps = [step for z, place in self._places(kernel, y) for step in self._finish(z, place)]
            return steps if passes is None else [*steps, partial(np.greater, y, np.zeros((), y.dtype), passes[0])]
        steps = [*largest(kernel.z, kernel.z[0], passes), *self._finish(kernel.z[0], y)]
        if passes is None:
            return steps
        all_on = partial(passes[0].fill, 1)
        begin = partial(np.greater, y, np.zeros((), y.dtype), passes[0]) if self.relu else all_on
        return [*steps, begin, *winners(passes)]

    def _finish(self, z: Array, y: Array) -> list[Step]:
        zero, infinity = np.zeros((), y.dtype), np.array(np.inf, y.dtype)
        if self.tile is None:
            return [partial(clip, z, zero, infinity, y) if self.relu else partial(np.copyto, y, z)]
        add = partial(np.add, z, self.tile[: y.shape[-2]], y)
        return [add, partial(clip, y, zero, infinity, y)] if self.relu else [add]

    def backward(self, i: int, rows: slice, kernel: Kernel, dy: Array) -> list[Step]:
        """dz in the memory of z."""
        passes = self._passes(rows, dy)
        if self.pool:
            assert passes is not None
            steps: list[Step] = [partial(np.multiply, dy, on, dz) for dz, on in zip(kernel.z, passes, strict=True)]
        else:
            steps, places = overhang(self.task, kernel.z), self._places(kernel, dy)
            if passes is None:
                steps += [partial(np.copyto, dz, place) for dz, place in places]
            else:
                through = self._places(kernel, passes[0])
                steps += [partial(np.multiply, d, on, dz) for (dz, d), (_, on) in zip(places, through, strict=True)]
        return [*steps, *self._bias(i, kernel.z)]

    def _bias(self, i: int, parts: tuple[Array, ...]) -> list[Step]:
        if self.db is None:
            return []
        flat = [part.reshape(-1, part.shape[-1]) for part in parts]
        ones = np.ones(len(flat[0]), flat[0].dtype)
        return [partial(ones.dot, part, row) for part, row in zip(flat, self.db[i], strict=True)]

    def _passes(self, rows: slice, y: Array) -> Array | None:
        """(parts or 1, *positions, rows, filters) of this block."""
        if self.passes is None:
            return None
        parts = self.task.parts if self.pool else 1
        per_row = parts * y.size // (rows.stop - rows.start)
        return self.passes[rows.start * per_row : rows.stop * per_row].reshape(parts, *y.shape)

    def _places(self, kernel: Kernel, y: Array) -> list[tuple[Array, Array]]:
        """Each part of z, without what hangs over, beside its places in y."""
        found = []
        for z, part in zip(kernel.z, self.task.each_part(), strict=True):
            place = y[tuple(slice(start, None, p) for start, p in zip(part, self.task.phase, strict=True))]
            found.append((corner(z, self.task.real(part)), place))
        return found


def largest(parts: Sequence[Array], top: Array, beats: Array | None) -> list[Step]:
    """The maximum over the parts; beats[k]: where part k is larger than all before it."""
    steps: list[Step] = [] if top is parts[0] else [partial(np.copyto, top, parts[0])]
    for k, z in enumerate(parts[1:], 1):
        if beats is not None:
            steps.append(partial(np.greater, z, top, beats[k]))
        steps.append(partial(np.maximum, z, top, out=top))
    return steps


def winners(passes: Array) -> list[Step]:
    """From where each part beat those before it to where it is the one that counts; passes[0]: where any does."""
    rest = passes[0]
    steps: list[Step] = []
    for beats in passes[:0:-1]:
        steps += [partial(np.logical_and, beats, rest, beats), partial(np.not_equal, rest, beats, rest)]
    return steps


def epilogue(task: Task, relu: bool, pool: bool, biased: bool, blocks: list[slice], site: Site) -> Epilogue:
    """The riders of one stage and their memory. `biased`: the bias is seen to elsewhere."""
    bias = None if biased else site.theta.get("bias")
    tile = None if bias is None else site.loose("tile", (max(each.stop - each.start for each in blocks), task.filters))
    db = site.loose("db", (len(blocks), task.parts, task.filters)) if site.backward and bias is not None else None
    passes = None
    if site.backward and (relu or pool):
        parts = task.parts if pool else 1
        passes = site.scratch("passes", (parts * site.plan.shape.size,), np.bool_).reshape(-1)
    return Epilogue(task, relu, pool, tile, db, passes)
