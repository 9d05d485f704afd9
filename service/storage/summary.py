"""A series in eleven numbers, of which those of two neighbouring stretches give those of both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from service.storage.block import Points


@dataclass(frozen=True, slots=True)
class Summary:
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

    def __add__(self, later: Summary) -> Summary:
        """Of both; the steps of `later` all lie behind."""
        low = later if self.min is None or (later.min is not None and later.min < self.min) else self
        high = later if self.max is None or (later.max is not None and later.max > self.max) else self
        return Summary(
            self.n + later.n, self.nonfinite + later.nonfinite, self.first_step, later.last_step, low.min_step,
            high.max_step, self.first, later.last, low.min, high.max, self.sum + later.sum,
        )  # fmt: skip

    def columns(self) -> dict[str, Any]:
        """For the tables, where NaN is NULL."""
        columns = {name: getattr(self, name) for name in NAMES}
        for name in _MAY_BE_NAN:
            if math.isnan(columns[name]):
                columns[name] = None
        return columns


_MAY_BE_NAN = ("first", "last", "sum")  # a sum that has overflown both ways
NAMES = tuple(field.name for field in fields(Summary))


def of_points(found: Points) -> Summary:
    """Of at least one point."""
    steps, values = found["step"], np.ascontiguousarray(found["value"])
    ends = (int(steps[0]), int(steps[-1]))
    values_at_ends = (float(values[0]), float(values[-1]))
    finite = np.isfinite(values)
    if not finite.all():
        steps, values = steps[finite], values[finite]
    if not len(values):
        return Summary(len(found), len(found), *ends, None, None, *values_at_ends, None, None, 0.0)
    low, high = values.argmin(), values.argmax()
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(values.sum())
    return Summary(
        len(found), len(found) - len(values), *ends, int(steps[low]), int(steps[high]), *values_at_ends,
        float(values[low]), float(values[high]), total,
    )  # fmt: skip


def of_columns(row: Iterable[Any]) -> Summary:
    """As the tables have it, in the order of `NAMES`."""
    known = dict(zip(NAMES, row, strict=True))
    return Summary(**(known | {name: math.nan for name in _MAY_BE_NAN if known[name] is None}))
