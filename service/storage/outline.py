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


def outline(found: Points, starts: NDArray[np.intp] | None = None) -> Outline:
    """The stretches that begin at these points; by default every 256th."""
    if starts is None:
        starts = np.arange(0, len(found), STRETCH_POINTS)
    single = np.empty(len(found), STRETCH)
    single["n"], single["nonfinite"] = 1, ~np.isfinite(found["value"])
    single["sum"] = np.where(single["nonfinite"], 0.0, found["value"])
    for field in ("first", "last", "min", "max"):
        single[field] = found
    return joined(single, starts)


def joined(stretches: Outline, starts: NDArray[np.intp]) -> Outline:
    """Longer stretches, each from one start to the next."""
    if not len(stretches):
        return stretches
    result = np.empty(len(starts), STRETCH)
    for field in ("n", "nonfinite", "sum"):
        result[field] = np.add.reduceat(stretches[field], starts)
    result["first"] = stretches["first"][starts]
    result["last"] = stretches["last"][np.append(starts[1:], len(stretches)) - 1]
    empty = stretches["n"] == stretches["nonfinite"]
    for field, worst, extreme in (("min", np.inf, np.minimum), ("max", -np.inf, np.maximum)):
        values = np.where(empty, worst, stretches[field]["value"])
        result[field] = stretches[field][_earliest(values, extreme.reduceat(values, starts), starts)]
    return result


def _earliest(values: NDArray[np.float64], extremes: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """By stretch: the first place that has its extreme."""
    stretch = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    places = np.flatnonzero(values == extremes[stretch])
    return places[np.searchsorted(places, starts)]
