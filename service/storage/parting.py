"""Where two series part: the first step at which one says what the other does not."""

from __future__ import annotations

import numpy as np

from service.storage.rows import Series


def parting(one: Series, other: Series) -> int | None:
    """The first step, up to the end of the shorter, that both do not have or at which their values differ.

    None when there is none. NaN is equal to NaN, and nothing is nearly equal: the same computation has the same bits.
    """
    if not len(one.steps) or not len(other.steps):
        return None
    end = min(one.steps[-1], other.steps[-1])
    ours, theirs = (np.searchsorted(each.steps, end, "right") for each in (one, other))
    n = min(ours, theirs)
    steps = one.steps[:n], other.steps[:n]
    a, b = one.values[:n], other.values[:n]
    differ = (steps[0] != steps[1]) | ((a != b) & ~(np.isnan(a) & np.isnan(b)))
    at = int(differ.argmax()) if differ.any() else n
    if at < n:
        return int(min(steps[0][at], steps[1][at]))
    return None if ours == theirs else int((one if ours > theirs else other).steps[n])
