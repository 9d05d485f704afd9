"""From examples to the arrays a program reads: gathered, scaled and cast, a block of steps at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Layout, Signature


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows to learn from. `x`: (rows, *shape) raw as the signature says; `y`: (rows, ...) int32 classes or
    (rows, k) numbers; `lengths`: (rows,) valid steps of each row, None when all are full."""

    x: Array
    y: Array
    lengths: Array | None = None

    def __len__(self) -> int:
        return len(self.x)


class Feed:
    """The input of `slots` steps: `views[i]` (rows, *shape) is what step i reads; `ones[i]` its memory with ones."""

    def __init__(
        self, signature: Signature, rows: int, slots: int, layout: Layout, dtype: np.dtype[np.generic], arena: Arena
    ) -> None:
        self.signature, self.rows = signature, rows
        whole = np.dtype(np.intp) if signature.vocabulary is not None else dtype
        self._block, memory = _block(arena, (slots, rows, *signature.shape), layout, whole)
        self.views: list[Array] = list(self._block)
        self.ones: list[Array | None] = [None] * slots if memory is None else list(memory)
        self._scale, self._offset = np.array(signature.scale, whole), np.array(signature.offset, whole)
        self._scaled, self._moved = bool(self._scale != 1), bool(self._offset != 0)
        plain = not self._scaled and not self._moved and signature.dtype == whole.name
        self._direct = plain and self._block.flags.c_contiguous
        shape = (0,) if self._direct else (slots * rows, *signature.shape)
        self._raw = arena.array("feed.raw", shape, np.dtype(signature.dtype), rows=rows)

    def load(self, source: Array, indices: Array) -> None:
        """Rows `indices` of the source become the input of as many steps as they fill."""
        count = len(indices) // self.rows
        if self._direct:
            source.take(indices, 0, self._block[:count].reshape(len(indices), *self.signature.shape), "clip")
            return
        raw = self._raw[: len(indices)]
        source.take(indices, 0, raw, "clip")
        self._affine(raw.reshape(count, self.rows, *self.signature.shape), self._block[:count])

    def put(self, rows: Array) -> None:
        """Rows as they come, into the first step; those behind them keep what they had."""
        self._affine(rows, self._block[0, : len(rows)])

    def _affine(self, raw: Array, x: Array) -> None:
        if self._scaled:
            np.multiply(raw, self._scale, x, casting="unsafe")
        else:
            np.copyto(x, raw, casting="unsafe")
        if self._moved:
            np.add(x, self._offset, x)


def _block(
    arena: Arena, shape: tuple[int, ...], layout: Layout, dtype: np.dtype[np.generic]
) -> tuple[Array, Array | None]:
    """A (slots, rows, ...) view of memory in which every slot has this layout, and the memory when it has ones."""
    slots, rows = shape[:2]
    if layout == "ones":
        memory = arena.array("feed.x", (slots, shape[2] + 1, rows), dtype, rows=rows)
        memory[:, -1] = 1
        return memory[:, :-1].transpose(0, 2, 1), memory
    if layout == "rows" or layout == (1, 0):  # rows come as rows: turning wide ones costs more than it gains
        return arena.array("feed.x", shape, dtype, rows=rows), None
    memory = arena.array("feed.x", (slots, *(shape[1 + axis] for axis in layout)), dtype, rows=rows)
    return memory.transpose(0, *(1 + np.argsort(layout))), None
