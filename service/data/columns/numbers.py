"""A column of numbers, built piece by piece."""

from __future__ import annotations

import numpy as np

from service.data.columns.finished import Finished, number_text
from service.data.description import ColumnDescription, Counted
from service.data.spool import Piece, Spool, spooled
from service.data.statistics import (
    TOP,
    Bytes,
    Distinct,
    Floats,
    Moments,
    as_bytes,
    byte_moments,
    levels,
    whole,
)
from service.tensors import Array


class Numbers:
    """A column of numbers; NaN is missing. Kept as float32 when every value survives it, else float64.

    A piece of bytes is held as such, and all it takes is to be counted.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool, self._pieces = spool, list[Piece]()
        self._moments, self._distinct = Moments(), Distinct()
        self._levels, self._bytes, self._came_as_bytes = np.zeros(256, np.int64), 0, 0  # the rows that are bytes
        self._single, self._integer, self._infinite, self._rows = True, True, 0, 0

    @property
    def empty(self) -> bool:
        """Whether no row so far has a value."""
        return self._moments.count + self._bytes == 0

    @property
    def bytes(self) -> bool:
        """Whether all rows so far came as bytes."""
        return 0 < self._came_as_bytes == self._rows

    def add(self, values: Floats | Bytes) -> None:
        """Takes a piece of rows. values: (rows,); infinite ones are counted and become missing."""
        self._rows += len(values)
        found = as_bytes(values)
        if found is None:
            self._add_floats(values.astype(np.float64, copy=False))
            return
        self._bytes += len(found)
        self._came_as_bytes += len(values) if values.dtype == np.uint8 else 0
        self._levels += levels(found)
        self._pieces.append(self._spool.add(found))

    def _add_floats(self, values: Floats) -> None:
        present = values
        if not self._moments.add_finite(values):
            infinite = np.isinf(values)
            if infinite.any():
                self._infinite += int(infinite.sum())
                values = np.where(infinite, np.nan, values)
            present = self._moments.add(values)
        integer = whole(present)
        self._distinct.add(present, integer)
        self._integer = self._integer and integer
        self._pieces.append(self._spool.add(self._narrow(values, present)))

    def _narrow(self, values: Floats, present: Floats) -> Array:
        """The piece as float32 while no value has needed more."""
        if self._single:
            with np.errstate(over="ignore"):
                narrow = values.astype(np.float32)
            there = narrow if present is values else narrow[~np.isnan(narrow)]
            self._single = len(there) == len(present) and bool((there == present).all())
            if self._single:
                return narrow
        return values

    def skip(self, rows: int) -> None:
        """Takes `rows` missing rows."""
        if rows:
            self.add(np.full(rows, np.nan))

    def finish(self, name: str) -> Finished:
        """The column as it will be written."""
        dtype = "float32" if self._single else "float64"
        integer = self._integer and not self.empty
        byte_moments(self._levels, self._moments)
        there = np.flatnonzero(self._levels)
        self._distinct.merge(there.astype(np.float64), self._levels[there])
        found = self._distinct.counts
        values, counts = found or (np.zeros(0), np.zeros(0, np.int64))
        often = np.argsort(-counts, kind="stable")[:TOP]
        top = zip(map(number_text, values[often].tolist()), counts[often].tolist(), strict=True)
        description = ColumnDescription(
            name=name, type="number", dtype=dtype, shape=[], integer=integer, missing=self._moments.missing,
            distinct=None if found is None else len(values), **self._moments.summary(),
            top=[Counted(value=value, count=count) for value, count in top],
            classes=list(map(number_text, values.tolist())) if integer and found else None,
        )  # fmt: skip
        warning = f"column {name!r}: {self._infinite:,} infinite values are read as missing"
        stream = spooled(self._spool, self._pieces, (self._rows,), dtype)
        return Finished(description, {"values": stream}, [warning] if self._infinite else [])
