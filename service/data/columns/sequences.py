"""A column whose rows are of different lengths, built piece by piece."""

from __future__ import annotations

from collections import Counter

import numpy as np

from service.data.columns.arrays import Arrays
from service.data.columns.finished import Finished
from service.data.description import ColumnDescription, Lengths
from service.data.spool import Piece, Spool, offsets
from service.tensors import Array

_ALIKE = 0.9  # share of rows of one length, from which on the others may be a mistake


class Sequences:
    """All steps of all rows, and where each row's begin."""

    def __init__(self, spool: Spool, steps: Arrays) -> None:
        self._spool, self._steps = spool, steps
        self._lengths, self._counts = list[Piece](), Counter[int]()

    @staticmethod
    def of(spool: Spool, arrays: Arrays) -> Sequences:
        """A column that has held arrays of one length so far."""
        found = Sequences(spool, arrays.by_step())
        found._count(np.full(arrays.rows, arrays.shape[0]))
        return found

    @property
    def step(self) -> tuple[int, ...]:
        """The shape of a step."""
        return self._steps.shape

    def add(self, steps: Array, lengths: Array) -> None:
        """Takes a piece of rows. steps: (total, *step), one row's after the other's; lengths: (rows,)."""
        self._steps.add(steps)
        self._count(lengths)

    def _count(self, lengths: Array) -> None:
        self._lengths.append(self._spool.add(lengths.astype(np.int64)))
        values, counts = np.unique(lengths, return_counts=True)
        self._counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def finish(self, name: str) -> Finished:
        """The column as it will be written."""
        steps = self._steps.finish(name)
        lengths, rows = self._described(), self._counts.total()
        update = {"type": "sequence", "shape": [lengths.longest, *self.step], "lengths": lengths}
        description: ColumnDescription = steps.description.model_copy(update=update)
        streams = {**steps.streams, "offsets": offsets(self._spool, self._lengths, rows)}
        return Finished(description, streams, [*steps.warnings, *self._told(name, lengths)])

    def _described(self) -> Lengths:
        ends = np.cumsum([count for _, count in sorted(self._counts.items())])
        lengths, rows = sorted(self._counts), self._counts.total()
        low, high = (lengths[int(np.searchsorted(ends, at, "right"))] for at in ((rows - 1) // 2, rows // 2))
        return Lengths(
            shortest=lengths[0], longest=lengths[-1], median=(low + high) / 2,
            steps=sum(length * count for length, count in self._counts.items()),
            features=int(np.prod(self.step, dtype=np.int64)),
        )  # fmt: skip

    def _told(self, name: str, lengths: Lengths) -> list[str]:
        """One number too few in one row makes sequences of a table's rows: whoever did not mean it must see it."""
        if lengths.shortest == lengths.longest:
            return []
        span = f"{lengths.shortest:,} to {lengths.longest:,} steps, {lengths.median:g} at the median"
        ((usual, count),), rows = self._counts.most_common(1), self._counts.total()
        few = f"; {rows - count:,} of {rows:,} rows have not {usual:,}: is that meant?" if count > _ALIKE * rows else ""
        return [f"column {name!r} holds sequences: rows of {span}{few}"]
