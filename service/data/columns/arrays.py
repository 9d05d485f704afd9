"""A column whose rows are arrays, built piece by piece."""

from __future__ import annotations

from copy import copy

import numpy as np

from service.data.columns.finished import Finished
from service.data.description import ColumnDescription, ColumnType
from service.data.spool import Piece, Spool, spooled
from service.data.statistics import Moments, array_moments
from service.tensors import Array

IMAGE_CHANNELS = (1, 3, 4)


class Arrays:
    """A column whose rows are arrays of one shape; kept in its own type, or in the least that loses nothing."""

    def __init__(self, spool: Spool, shape: tuple[int, ...], *, native: bool) -> None:
        self.shape, self._native = shape, native
        self._spool, self._pieces, self.rows = spool, list[Piece](), 0
        self._dtypes: set[np.dtype[np.generic]] = set()
        self._moments, self._single = Moments(), True

    def add(self, values: Array) -> None:
        """Takes a piece of rows. values: (rows, *shape)."""
        array_moments(values, self._moments)
        self._dtypes.add(values.dtype)
        if not self._native and values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                self._single = self._single and bool((values.astype(np.float32) == values).all())
        self.rows += len(values)
        self._pieces.append(self._spool.add(values))

    def by_step(self) -> Arrays:
        """The same numbers with every step, along a row's first axis, a row of its own."""
        found = copy(self)
        found.shape, found.rows = self.shape[1:], self.rows * self.shape[0]
        found._pieces = [piece.reshaped((-1, *found.shape)) for piece in self._pieces]
        return found

    def finish(self, name: str) -> Finished:
        """The column as image (bytes, height x width, or with 1, 3 or 4 channels last) or array."""
        dtype = np.result_type(*self._dtypes) if self._native else self._least()
        integer = dtype.kind in "iu"
        description = ColumnDescription(
            name=name, type=_array_type(self.shape, dtype), dtype=dtype.name, shape=list(self.shape), integer=integer,
            missing=self._moments.missing, distinct=None, **self._moments.summary(), top=[], classes=None,
        )  # fmt: skip
        missing = f"column {name!r}: {self._moments.missing:,} values are not finite"
        stream = spooled(self._spool, self._pieces, (self.rows, *self.shape), dtype)
        return Finished(description, {"values": stream}, [missing] if self._moments.missing else [])

    def _least(self) -> np.dtype[np.generic]:
        least, greatest = self._moments.least, self._moments.greatest
        if any(dtype.kind == "f" for dtype in self._dtypes):
            return np.dtype(np.float32 if self._single else np.float64)
        if len(self.shape) > 1 and least >= 0 and greatest <= 255:
            return np.dtype(np.uint8)
        return np.dtype(np.int32 if max(-least, greatest) < 2**31 else np.int64)


def _array_type(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> ColumnType:
    pixels = len(shape) == 2 or (len(shape) == 3 and shape[-1] in IMAGE_CHANNELS)
    return "image" if dtype == np.uint8 and pixels else "array"
