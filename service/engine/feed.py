"""From examples to the arrays a program reads: gathered, scaled and cast, a block of steps at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Layout, Signature
from service.engine.row import lay


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
    """The input of `slots` steps: `views[i]` (rows, *shape) is what step i reads."""

    def __init__(
        self, signature: Signature, rows: int, slots: int, layout: Layout, dtype: np.dtype[np.generic], arena: Arena
    ) -> None:
        self.signature, self.rows, self.slots = signature, rows, slots
        whole = np.dtype(np.intp) if signature.vocabulary is not None else dtype
        laid = [
            lay(arena.array, f"feed.x{slot}" if layout != "rows" else "", rows, signature.shape, layout, whole)
            for slot in range(slots if layout != "rows" else 0)
        ]
        if layout == "rows":
            self.block = arena.array("feed.x", (slots, rows, *signature.shape), whole, rows=rows)
            laid = [(each, None) for each in self.block]
        self.views, self.ones = [view for view, _ in laid], [ones for _, ones in laid]
        self._whole = layout == "rows"
        self._scale, self._offset = np.array(signature.scale, whole), np.array(signature.offset, whole)
        self._direct = self._whole and signature.dtype == whole.name and self._scale == 1 and self._offset == 0
        shape = (0,) if self._direct else (slots * rows, *signature.shape)
        self._raw = arena.array("feed.raw", shape, np.dtype(signature.dtype), rows=rows)

    def load(self, source: Array, indices: Array) -> None:
        """Rows `indices` of the source become the input of as many steps as they fill."""
        if self._direct:
            source.take(indices, 0, self.block.reshape(-1, *self.signature.shape)[: len(indices)], "clip")
            return
        raw = self._raw[: len(indices)]
        source.take(indices, 0, raw, "clip")
        self._convert(raw)

    def put(self, rows: Array) -> None:
        """Rows as they come, into the first step; those behind them keep what they had."""
        self._convert(rows)

    def _convert(self, raw: Array) -> None:
        if self._whole:
            self._affine(raw, self.block.reshape(-1, *self.signature.shape)[: len(raw)])
            return
        for slot, start in enumerate(range(0, len(raw), self.rows)):
            piece = raw[start : start + self.rows]
            self._affine(piece, self.views[slot][: len(piece)])

    def _affine(self, raw: Array, x: Array) -> None:
        if self._scale == 1:
            np.copyto(x, raw, casting="unsafe")
        else:
            np.multiply(raw, self._scale, x, casting="unsafe")
        if self._offset != 0:
            np.add(x, self._offset, x)


Augment = Callable[[Array, Array, np.random.Generator], None]
"""(x, targets, generator): changes a block of rows in place, in training only."""
