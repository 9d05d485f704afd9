"""Many points to as few as a chart can show, in ways that differ in what they keep.

minmax  the lowest and the highest of every bucket, the first and the last of all, and a non-finite one of every bucket;
        a tenth goes to the lowest and the highest of all, so that spikes close to each other are told apart
        (of a long series only those whose stretches stand out: the others are not opened)
last    the last of every bucket
mean    the mean of the finite values of every bucket, at the bucket's last step
lttb    the points that keep the shape (largest triangle, three buckets: Steinarsson 2013)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.storage import outline
from service.storage.block import Points
from service.storage.outline import Outline, Places

Reduce = Literal["minmax", "last", "mean", "lttb"]
_STANDING_OUT = 10  # stretches that are opened for their highest points, and for their lowest
_FAR, _SAMPLED = 2, 500  # beyond the outermost, as a multiple of what that is away from the median of so many
NONE: Places = np.empty(0, np.intp)


def _outermost(max_points: int) -> int:
    """How many of the lowest, and how many of the highest of all."""
    return max_points // 20


def buckets(how: Reduce, max_points: int, nonfinite: bool) -> int:
    """Into how many buckets points are put so that no more than `max_points` (5 or more) come of them."""
    if how == "minmax":
        return max(1, (max_points - 2 - 2 * _outermost(max_points)) // (3 if nonfinite else 2))
    return max_points


def standing_out(stretches: Outline, max_points: int) -> Places:
    """The few stretches whose lowest or highest is far outside of the others': they may hold more of that."""
    some = np.flatnonzero(stretches["n"] > stretches["nonfinite"])
    count = _outermost(max_points)
    if not 0 < count < len(some):
        return NONE
    found = []
    for heights in (-stretches["min"]["value"][some], stretches["max"]["value"][some]):
        edge, usual = np.partition(heights, -count)[-count], np.median(heights[:: 1 + len(heights) // _SAMPLED])
        with np.errstate(over="ignore"):
            far = np.flatnonzero(heights > edge + _FAR * (edge - usual))
        found.append(some[far[np.argsort(-heights[far], kind="stable")[:_STANDING_OUT]]])
    return np.unique(np.concatenate(found))


def of_stretches(
    stretches: Outline, bad: Points, how: Reduce, max_points: int, opened: Places, inside: Points
) -> Points:
    """From an outline; `bad` are its non-finite points, `inside` all of the stretches that were opened.

    Buckets hold about equally many points.
    """
    position = np.cumsum(stretches["n"], dtype=np.int64)
    count = buckets(how, max_points, len(bad) > 0)
    bucket = (position - stretches["n"]) * count // position[-1]
    shut = stretches["n"] > stretches["nonfinite"]
    shut[opened] = False
    inside = inside[np.isfinite(inside["value"])]
    low, high = (np.concatenate([stretches[end][shut], inside]) for end in ("min", "max"))
    peaks = _peaks(low, high, _outermost(max_points))
    return _chosen(outline.joined(stretches, np.flatnonzero(np.diff(bucket, prepend=-1))), bad, how, peaks)


def of_points(found: Points, how: Reduce, max_points: int) -> Points:
    """From the points themselves."""
    finite = np.isfinite(found["value"])
    bad = found[~finite]
    if how == "lttb":
        return _lttb(found, bad, max_points)
    peaks = _peaks(found[finite], found[finite], _outermost(max_points)) if how == "minmax" else ()
    count = min(buckets(how, max_points, len(bad) > 0), len(found))
    return _chosen(outline.outline(found, -(np.arange(count) * -len(found) // count)), bad, how, peaks)


def _peaks(low: Points, high: Points, count: int) -> tuple[Points, ...]:
    """The lowest and the highest of these."""
    count = min(count, len(low))
    if not count:
        return ()
    lowest = np.argpartition(low["value"], count - 1)[:count]
    return low[lowest], high[np.argpartition(-high["value"], count - 1)[:count]]


def _chosen(stretches: Outline, bad: Points, how: Reduce, peaks: tuple[Points, ...]) -> Points:
    if how == "last":
        return stretches["last"]
    finite = stretches[stretches["n"] > stretches["nonfinite"]]
    if how == "mean":
        means = stretches["last"].copy()
        means["value"] = np.nan
        found, low, high = finite["sum"] / (finite["n"] - finite["nonfinite"]), finite["min"], finite["max"]
        halfway = low["value"] / 2 + high["value"] / 2  # where the sum is beyond what a number can be
        means["value"][stretches["n"] > stretches["nonfinite"]] = np.where(np.isfinite(found), found, halfway)
        return means
    ends = stretches["first"][:1], stretches["last"][-1:]
    return _by_step(*ends, *peaks, finite["min"], finite["max"], _first_of_each(bad, stretches["first"]["step"]))


def _first_of_each(found: Points, steps: NDArray[np.int64]) -> Points:
    """Of the points between each two of the steps, the first."""
    between = np.searchsorted(steps, found["step"], "right")
    return found[np.unique(between, return_index=True)[1]]


def _by_step(*pieces: Points) -> Points:
    every = np.concatenate(pieces)
    return every[np.unique(every["step"], return_index=True)[1]]


def _lttb(found: Points, bad: Points, max_points: int) -> Points:
    some = _first_of_each(bad, found["step"][:: -(-len(found) * 4 // max_points)])
    finite = found[np.isfinite(found["value"])]
    return _by_step(_shape(finite, max_points - len(some)), some)


def _shape(found: Points, count: int) -> Points:
    """The first, the last, and of every bucket between the point with the largest triangle to what is chosen before it
    and to the mean of the bucket behind it."""
    if len(found) <= count or count < 3:
        return found[:count]
    x, y = found["step"].astype(np.float64), found["value"]
    edges = 1 + np.arange(count - 1) * (len(found) - 2) // (count - 2)
    chosen = [0]
    behind = np.append(edges[1:], len(found))
    for start, end, after in zip(edges[:-1], edges[1:], behind[1:], strict=True):
        a, (mean_x, mean_y) = chosen[-1], (x[end:after].mean(), y[end:after].mean())
        with np.errstate(over="ignore", invalid="ignore"):
            area = np.abs((x[a] - mean_x) * (y[start:end] - y[a]) - (x[a] - x[start:end]) * (mean_y - y[a]))
        chosen.append(int(start + area.argmax()))
    return found[[*chosen, len(found) - 1]]
