"""What a chart needs to know of a stretch of points, and how stretches are put together to longer ones.

`min`, `max` and `sum` are those of the finite values; of equal extremes the earliest counts.
"""

from __future__ import annotations

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

LAST_AT: Final = 40  # bytes of a stretch before its last point
_EXTREMES = (("min", np.inf, np.minimum), ("max", -np.inf, np.maximum))


def outline(found: Points, starts: Places | None = None) -> Outline:
    """The stretches that begin at these points; by default every 256th."""
    if starts is None:
        starts = np.arange(0, len(found), STRETCH_POINTS)
    result = np.empty(len(starts), STRETCH)
    if not len(found):
        return result
    values = np.ascontiguousarray(found["value"])
    finite = np.isfinite(values)
    ends = np.append(starts[1:], len(found))
    result["n"] = ends - starts
    result["nonfinite"] = result["n"] - np.add.reduceat(finite, starts, dtype=np.int64)
    known = values if finite.all() else np.where(finite, values, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        result["sum"] = np.add.reduceat(known, starts)
    result["first"], result["last"] = found[starts], found[ends - 1]
    for field, worst, extreme in _EXTREMES:
        filled = values if known is values else np.where(finite, values, worst)
        result[field] = found[_earliest(filled, extreme, starts, ends)]
    return result


def joined(stretches: Outline, starts: Places) -> Outline:
    """Longer stretches, each from one start to the next."""
    result = np.empty(len(starts), STRETCH)
    with np.errstate(over="ignore", invalid="ignore"):
        for field in ("n", "nonfinite", "sum"):
            result[field] = np.add.reduceat(stretches[field], starts)
    ends = np.append(starts[1:], len(stretches))
    result["first"], result["last"] = stretches["first"][starts], stretches["last"][ends - 1]
    empty = stretches["n"] == stretches["nonfinite"]
    for field, worst, extreme in _EXTREMES:
        values = np.where(empty, worst, stretches[field]["value"])
        result[field] = stretches[field][_earliest(values, extreme, starts, ends)]
    return result


def _earliest(values: NDArray[np.float64], extreme: np.ufunc, starts: Places, ends: Places) -> Places:
    """By stretch: the first place that has its extreme."""
    places = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), ends - starts))
    return places[np.searchsorted(places, starts)]
