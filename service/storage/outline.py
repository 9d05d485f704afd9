"""What a chart needs to know of a stretch of points, and how stretches are put together to longer ones.

`min`, `max` and `sum` are those of the finite values; of equal extremes the earliest counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.storage.block import POINT, Points

STRETCH_POINTS: Final = 256
Places = NDArray[np.intp]
Outline = NDArray[Any]  # of STRETCH, in the order of their steps
STRETCH: Final = np.dtype(
    [
        ("n", "<i4"),
        ("nonfinite", "<i4"),
        ("sum", "<f8"),
        ("first", POINT),
        ("last", POINT),
        ("min", POINT),
        ("max", POINT),
    ]
)

_IN_ONE = np.dtype([("n", "<i4"), ("nonfinite", "<i4"), ("sum", "<f8"), ("points", POINT, (4,))])  # the same bytes
LAST_AT: Final = 40  # bytes of a stretch before its last point
_EXTREMES = (("min", np.inf, np.minimum, np.argmin), ("max", -np.inf, np.maximum, np.argmax))


def outline(found: Points, starts: Places | None = None) -> Outline:
    """The stretches that begin at these points; by default every 256th."""
    even = starts is None
    starts, lasts, counts = _every(len(found)) if starts is None else _stretches(starts, len(found))
    result = np.empty(len(starts), STRETCH)
    if not len(found):
        return result
    values = np.ascontiguousarray(found["value"])
    result["n"], result["nonfinite"] = counts, 0
    with np.errstate(over="ignore", invalid="ignore"):
        result["sum"] = sums = np.add.reduceat(values, starts)
        finite = None if np.isfinite(sums).all() else np.isfinite(values)
        if finite is not None:
            result["nonfinite"] = counts - np.add.reduceat(finite, starts, dtype=np.int64)
            result["sum"] = np.add.reduceat(np.where(finite, values, 0.0), starts)
    places = np.empty((len(starts), 4), np.intp)
    places[:, 0], places[:, 1] = starts, lasts
    for at, (_, worst, extreme, place) in enumerate(_EXTREMES, start=2):
        filled = values if finite is None else np.where(finite, values, worst)
        places[:, at] = place(_rows(filled), axis=1) + starts if even else _earliest(filled, extreme, starts, lasts + 1)
    result.view(_IN_ONE)["points"] = found[places]
    return result


@lru_cache(maxsize=256)
def _every(n: int) -> tuple[Places, Places, Places]:
    return _stretches(np.arange(0, n, STRETCH_POINTS), n)


def _stretches(starts: Places, n: int) -> tuple[Places, Places, Places]:
    """Where they begin, where their last points are, and how many points they have."""
    lasts = np.append(starts[1:], n) - 1
    return starts, lasts, lasts + 1 - starts


def joined(stretches: Outline, starts: Places) -> Outline:
    """Longer stretches, each from one start to the next."""
    result = np.empty(len(starts), STRETCH)
    with np.errstate(over="ignore", invalid="ignore"):
        for field in ("n", "nonfinite", "sum"):
            result[field] = np.add.reduceat(stretches[field], starts)
    ends = np.append(starts[1:], len(stretches))
    result["first"], result["last"] = stretches["first"][starts], stretches["last"][ends - 1]
    empty = stretches["n"] == stretches["nonfinite"]
    for field, worst, extreme, _ in _EXTREMES:
        values = np.where(empty, worst, stretches[field]["value"])
        result[field] = stretches[field][_earliest(values, extreme, starts, ends)]
    return result


def _earliest(values: NDArray[np.float64], extreme: np.ufunc, starts: Places, ends: Places) -> Places:
    """By stretch: the first place that has its extreme."""
    places = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), ends - starts))
    return places[np.searchsorted(places, starts)]


def _rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even stretches one below the other; the last one is filled up with its last value, never the earliest."""
    rest = -len(values) % STRETCH_POINTS
    padded = np.concatenate([values, np.repeat(values[-1:], rest)]) if rest else values
    return padded.reshape(-1, STRETCH_POINTS)
