"""What a chart needs to know of a stretch of points, and how stretches are put together to longer ones.

`min`, `max` and `sum` are those of the finite values; of equal extremes the earliest counts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.storage.block import POINT, Points

STRETCH_POINTS: Final = 256
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

_EXTREMES = (("min", np.inf, np.minimum), ("max", -np.inf, np.maximum))


def outline(found: Points, starts: NDArray[np.intp] | None = None) -> Outline:
    """The stretches that begin at these points; by default every 256th."""
    if starts is None:
        starts = np.arange(0, len(found), STRETCH_POINTS)
    result = np.empty(len(starts), STRETCH)
    if not len(found):
        return result
    values = found["value"]
    finite = np.isfinite(values)
    result["n"] = np.diff(starts, append=len(found))
    result["nonfinite"] = result["n"] - np.add.reduceat(finite, starts, dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        result["sum"] = np.add.reduceat(values if finite.all() else np.where(finite, values, 0.0), starts)
    result["first"], result["last"] = found[starts], found[_ends(starts, len(found))]
    for field, worst, extreme in _EXTREMES:
        filled = values if finite.all() else np.where(finite, values, worst)
        result[field] = found[_earliest(filled, extreme.reduceat(filled, starts), starts)]
    return result


def joined(stretches: Outline, starts: NDArray[np.intp]) -> Outline:
    """Longer stretches, each from one start to the next."""
    result = np.empty(len(starts), STRETCH)
    with np.errstate(over="ignore", invalid="ignore"):
        for field in ("n", "nonfinite", "sum"):
            result[field] = np.add.reduceat(stretches[field], starts)
    result["first"], result["last"] = stretches["first"][starts], stretches["last"][_ends(starts, len(stretches))]
    empty = stretches["n"] == stretches["nonfinite"]
    for field, worst, extreme in _EXTREMES:
        values = np.where(empty, worst, stretches[field]["value"])
        result[field] = stretches[field][_earliest(values, extreme.reduceat(values, starts), starts)]
    return result


def _ends(starts: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    return np.append(starts[1:], n) - 1


def _earliest(values: NDArray[np.float64], extremes: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """By stretch: the first place that has its extreme."""
    places = np.flatnonzero(values == np.repeat(extremes, np.diff(starts, append=len(values))))
    return places[np.searchsorted(places, starts)]
