"""Statistics of a column gathered piece by piece, in the memory of one piece."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from service.tensors import Array

MOST_CLASSES = 1_000
_CLOSE = 1 << 16
_SAMPLE = 64  # values
TOP = 10

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
_LEVELS = 256


class Summary(TypedDict):
    """What a description tells of a column's values."""

    min: float | None
    max: float | None
    mean: float | None
    std: float | None


class Moments:
    """Count, least, greatest, mean and standard deviation of the finite values seen.

    Pieces are merged by Chan, Golub and LeVeque (1983), so that a mean far from zero costs no digits.
    `std` is the population's: the square root of the mean squared distance from the mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.missing = 0
        self.least = math.inf
        self.greatest = -math.inf
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: Floats) -> Floats:
        """Takes a piece (NaN is missing) and returns its values that are not missing."""
        gone = np.isnan(values)
        present = values[~gone] if gone.any() else values
        self.missing += len(values) - len(present)
        if len(present):
            self._take(present, _mean(present))
        return present

    def add_finite(self, values: Floats) -> bool:
        """Takes a piece, unless a value or all their sum is not finite: then nothing of it, and tells so."""
        mean = _mean(values) if len(values) else math.nan
        if math.isfinite(mean):
            self._take(values, mean)
        return math.isfinite(mean)

    def _take(self, present: Floats, mean: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # values near float64's end have no square
            distances = present - mean
            squares = float(np.square(distances, out=distances).sum())
        self.merge(len(present), float(present.min()), float(present.max()), mean, squares)

    def merge(self, count: int, least: float, greatest: float, mean: float, squares: float) -> None:
        """Adds `count` values of this mean and this sum of squared distances from it."""
        total, distance = self.count + count, mean - self.mean
        self._squares += squares + distance * distance * self.count * count / total
        self.mean += distance * count / total
        self.count = total
        self.least, self.greatest = min(self.least, least), max(self.greatest, greatest)

    @property
    def std(self) -> float | None:
        """None without values, or when the squares are beyond float64."""
        return _finite(math.sqrt(self._squares / self.count)) if self.count else None

    def summary(self) -> Summary:
        """min, max, mean and std, None where there is nothing to tell."""
        if not self.count:
            return {"min": None, "max": None, "mean": None, "std": None}
        return {"min": self.least, "max": self.greatest, "mean": _finite(self.mean), "std": self.std}


class Distinct:
    """Which values occur how often, as long as there are at most MOST_CLASSES of them."""

    def __init__(self) -> None:
        self._found: tuple[Array, Array] | None = (np.zeros(0), np.zeros(0, np.int64))

    @property
    def counts(self) -> tuple[Array, Array] | None:
        """(the values, ascending; how often each occurs); None when there are too many of them."""
        return self._found

    def add(self, values: Floats, integer: bool) -> None:
        """Takes a piece without NaN; `integer`: all of them are whole."""
        if self._found is not None:
            self.merge(*_counted(values, integer))

    def merge(self, values: Array, counts: Array) -> None:
        """Adds different values, each as often as `counts` tells."""
        if self._found is None or len(values) > MOST_CLASSES:
            self._found = None
            return
        known, before = self._found
        if not (len(known) and len(values)):
            self._found = (values, counts) if len(values) else self._found
            return
        merged, at = np.unique(np.concatenate([known, values]), return_inverse=True)
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, at, np.concatenate([before, counts]))
        self._found = (merged, total) if len(merged) <= MOST_CLASSES else None


def _counted(values: Floats, integer: bool) -> tuple[Array, Array]:
    """(different values, ascending; how often each): by counting where they are whole and close together."""
    if integer and len(values):
        least, greatest = float(values.min()), float(values.max())
        if greatest - least < _CLOSE:
            counts = np.bincount((values - least).astype(np.intp))
            there = np.flatnonzero(counts)
            return there + least, counts[there]
    ordered = np.sort(values)  # np.unique takes four times as long
    starts = np.flatnonzero(np.concatenate([[len(ordered) > 0], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.diff(starts, append=len(ordered))


def as_bytes(values: Floats | Bytes) -> Bytes | None:
    """The values as bytes, when each one is a whole number from 0 to 255 and none is minus zero."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    for some in (values[:_SAMPLE], values):  # most columns that are none tell so at once
        if not (len(some) and some.min() >= 0 and some.max() < _LEVELS and whole(some)):
            return None
    return None if np.signbit(values).any() else values.astype(np.uint8)


def all_finite(values: Floats) -> bool:
    """Whether no value is infinite or NaN: their sum tells it in one pass, unless it is too large."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def whole(values: Floats | Bytes) -> bool:
    """Whether none of the values, which are not missing, has a fraction."""
    return all(bool((some == np.floor(some)).all()) for some in (values[:_SAMPLE], values))


def levels(values: Bytes) -> Array:
    """How often each byte occurs, (256,)."""
    return np.bincount(values.reshape(-1), minlength=_LEVELS)


def byte_moments(counts: Array, moments: Moments) -> None:
    """Adds bytes exactly and without floats of their number: through their histogram, (256,)."""
    present, total = np.flatnonzero(counts), int(counts.sum())
    if total:
        values = np.arange(float(_LEVELS))
        mean = float(counts @ values) / total
        squares = float(counts @ np.square(values - mean))
        moments.merge(total, float(present[0]), float(present[-1]), mean, squares)


def array_moments(values: Array, moments: Moments) -> None:
    """Adds an array of any numeric type; what is not finite counts as missing."""
    if values.dtype == np.uint8:
        byte_moments(levels(values), moments)
        return
    flat = values.reshape(-1).astype(np.float64)
    flat[~np.isfinite(flat)] = np.nan
    moments.add(flat)


def _mean(values: Floats) -> float:
    """Not finite when a value is not, or their sum."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
