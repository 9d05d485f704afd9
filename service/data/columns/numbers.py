"""A column of numbers, built piece by piece."""

from __future__ import annotations

import numpy as np

from service.data.columns.finished import Finished, number_text
from service.data.description import ColumnDescription, Counted
from service.data.spool import Piece, Spool, spooled
from service.data.statistics import TOP, Distinct, Floats, Moments


class Numbers:
    """A column of numbers; NaN is missing. Kept as float32 when every value survives it, else float64."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._pieces = spool, list[Piece]()
        self.moments, self._distinct = Moments(), Distinct()
        self._single, self._integer, self._infinite, self._rows = True, True, 0, 0

    @property
    def empty(self) -> bool:
        """Whether no row so far has a value."""
        return self.moments.count == 0

    def add(self, values: Floats) -> None:
        """Takes a piece of rows. values: (rows,); infinite ones are counted and become missing."""
        infinite = np.isinf(values)
        if infinite.any():
            self._infinite += int(infinite.sum())
            values = np.where(infinite, np.nan, values)
        present = self.moments.add(values)
        self._distinct.add(present)
        with np.errstate(over="ignore"):
            self._single = self._single and bool((present.astype(np.float32) == present).all())
        self._integer = self._integer and bool((present == np.floor(present)).all())
        self._rows += len(values)
        self._pieces.append(self._spool.add(values))

    def skip(self, rows: int) -> None:
        """Takes `rows` missing rows."""
        if rows:
            self.add(np.full(rows, np.nan))

    def finish(self, name: str) -> Finished:
        """The column as it will be written."""
        dtype = "float32" if self._single else "float64"
        counts, integer = self._distinct.counts, self._integer and not self.empty
        top = [] if counts is None else counts.most_common(TOP)
        description = ColumnDescription(
            name=name, type="number", dtype=dtype, shape=[], integer=integer, missing=self.moments.missing,
            distinct=None if counts is None else len(counts), **self.moments.summary(),
            top=[Counted(value=number_text(value), count=count) for value, count in top],
            classes=[number_text(value) for value in sorted(counts)] if integer and counts is not None else None,
        )  # fmt: skip
        found = f"column {name!r}: {self._infinite:,} infinite values are read as missing"
        stream = spooled(self._spool, self._pieces, (self._rows,), dtype)
        return Finished(description, {"values": stream}, [found] if self._infinite else [])
