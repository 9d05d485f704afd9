"""A block of rows on its way into the padded memory a kernel reads, and its gradient on the way out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from service.engine.contract import Array, Step
from service.engine.layers.kernel import Task


def direct(task: Task, split: tuple[int, ...], outer: Array) -> Array | None:
    """The input itself, where a kernel may read it as it lies: nothing to pad, nothing to split."""
    if any(task.window.before) or max(split) > 1:
        return None
    if any(read > size for read, size in zip(task.reads, task.window.size, strict=True)):
        return None
    return outer[tuple(slice(read) for read in task.reads)]


def fill(task: Task, split: tuple[int, ...], inner: Array, outer: Array, valid: Array | None) -> list[Step]:
    """Steps that bring the input in; where `valid` (time, rows, 1) is 0 it is read as nothing."""
    pairs = _pairs(task, split, inner, outer)
    if valid is None:
        return [partial(np.copyto, to, source) for to, source in pairs]
    return [partial(np.multiply, source, valid[: len(source)], to) for to, source in pairs]


def spill(task: Task, split: tuple[int, ...], inner: Array, outer: Array, valid: Array | None) -> list[Step]:
    """Steps that bring the gradient out, and nothing to what was never read."""
    pairs = _pairs(task, split, inner, outer)
    if valid is None:
        return [*(partial(np.copyto, to, source) for source, to in pairs), *clear(task, outer)]
    return [*(partial(np.multiply, source, valid[: len(to)], to) for source, to in pairs), *clear(task, outer)]


def clear(task: Task, outer: Array) -> list[Step]:
    """Steps that set to nothing what lies behind the last number read."""
    found: list[Step] = []
    for axis, (start, stop) in enumerate(task.window.inside(task.reads)):
        if stop - start < task.window.size[axis]:
            found.append(partial(outer[(*(slice(None),) * axis, slice(stop - start, None))].fill, 0))
    return found


def _pairs(task: Task, split: tuple[int, ...], inner: Array, outer: Array) -> Iterator[tuple[Array, Array]]:
    """(inner, outer) views of the same numbers, one pair for each interleaved part.

    Padded place p of an axis is input place p - before, and cell p // parts of part p % parts.
    """
    inside = task.window.inside(task.reads)
    for part in product(*(range(s) for s in split)):
        cells, places = [], []
        for offset, parts, (start, stop) in zip(part, split, inside, strict=True):
            first = start + (offset - start) % parts
            cells.append(slice(first // parts, -(-(stop - offset) // parts)))
            places.append(slice(first - start, stop - start, parts))
        at = inner[part] if max(split) > 1 else inner
        yield at[tuple(cells)], outer[tuple(places)]
