"""Statistics of a column gathered piece by piece, in the memory of one piece."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from service.tensors import Array

MOST_CLASSES = 1_000
_CLOSE = 1 << 16
TOP = 10

Floats = NDArray[np.float64]


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
            with np.errstate(over="ignore", invalid="ignore"):  # values near float64's end have no square
                mean = float(present.mean())
                squares = float(np.square(present - mean).sum())
            self.merge(len(present), float(present.min()), float(present.max()), mean, squares)
        return present

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

    def summary(self) -> dict[str, float | None]:
        """min, max, mean and std, None where there is nothing to tell."""
        if not self.count:
            return {"min": None, "max": None, "mean": None, "std": None}
        return {"min": self.least, "max": self.greatest, "mean": _finite(self.mean), "std": self.std}


class Distinct:
    """Which values occur how often, as long as there are at most MOST_CLASSES of them."""

    def __init__(self) -> None:
        self.counts: Counter[float] | None = Counter()

    def add(self, values: Floats) -> None:
        """Takes a piece without NaN."""
        if self.counts is None:
            return
        found, counts = _counted(values)
        if len(found) <= MOST_CLASSES:
            self.counts.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        if len(found) > MOST_CLASSES or len(self.counts) > MOST_CLASSES:
            self.counts = None


def _counted(values: Floats) -> tuple[Array, Array]:
    """(different values, ascending; how often each): by counting where they are whole and close together."""
    if len(values):
        least, greatest = float(values.min()), float(values.max())
        if greatest - least < _CLOSE and (values == np.floor(values)).all():
            counts = np.bincount((values - least).astype(np.intp))
            there = np.flatnonzero(counts)
            return there + least, counts[there]
    return np.unique(values, return_counts=True)


def byte_moments(values: NDArray[np.uint8], moments: Moments) -> None:
    """Adds bytes exactly and without floats of their number: through their histogram."""
    counts = np.bincount(values.reshape(-1), minlength=256)
    present, total = np.flatnonzero(counts), int(counts.sum())
    if total:
        levels = np.arange(256.0)
        mean = float(counts @ levels) / total
        squares = float(counts @ np.square(levels - mean))
        moments.merge(total, float(present[0]), float(present[-1]), mean, squares)


def array_moments(values: Array, moments: Moments) -> None:
    """Adds an array of any numeric type; what is not finite counts as missing."""
    if values.dtype == np.uint8:
        byte_moments(values, moments)
        return
    flat = values.reshape(-1).astype(np.float64)
    flat[~np.isfinite(flat)] = np.nan
    moments.add(flat)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
