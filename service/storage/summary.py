"""A series in eleven numbers, of which those of two neighbouring stretches give those of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from service.storage.block import Points


class Summary(NamedTuple):
    """`min`, `max` (with the earliest step that has it) and `sum` are those of the finite values; None without any."""

    n: int
    nonfinite: int
    first_step: int
    last_step: int
    min_step: int | None
    max_step: int | None
    first: float
    last: float
    min: float | None
    max: float | None
    sum: float

    def columns(self) -> dict[str, Any]:
        """For the tables, where NaN is NULL."""
        columns = self._asdict()
        for name in _MAY_BE_NAN:
            if columns[name] != columns[name]:
                columns[name] = None
        return columns


_MAY_BE_NAN = ("first", "last", "sum")  # a sum that has overflown both ways
NAMES = Summary._fields


def joined(before: Summary, later: Summary) -> Summary:
    """Of both; the steps of `later` all lie behind."""
    low = later if before.min is None or (later.min is not None and later.min < before.min) else before
    high = later if before.max is None or (later.max is not None and later.max > before.max) else before
    return Summary(
        before.n + later.n, before.nonfinite + later.nonfinite, before.first_step, later.last_step, low.min_step,
        high.max_step, before.first, later.last, low.min, high.max, before.sum + later.sum,
    )  # fmt: skip


def of_points(found: Points) -> Summary:
    """Of at least one point."""
    steps, values = found["step"], np.ascontiguousarray(found["value"])
    n, ends, values_at_ends = len(found), (int(steps[0]), int(steps[-1])), (float(values[0]), float(values[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(values.sum())
        if not math.isfinite(total):
            finite = np.isfinite(values)
            steps, values = steps[finite], values[finite]
            total = float(values.sum())
    if not len(values):
        return Summary(n, n, *ends, None, None, *values_at_ends, None, None, 0.0)
    low, high = values.argmin(), values.argmax()
    return Summary(
        n, n - len(values), *ends, int(steps[low]), int(steps[high]), *values_at_ends, float(values[low]),
        float(values[high]), total,
    )  # fmt: skip


def of_columns(row: Sequence[Any]) -> Summary:
    """As the tables have it, in the order of `NAMES`."""
    known = Summary._make(row)
    if None not in row:
        return known
    return known._replace(first=_number(known.first), last=_number(known.last), sum=_number(known.sum))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
