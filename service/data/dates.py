"""A date as numbers that a network can use: its year, and where in the year, the week and the day it lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.data.statistics import Floats
from service.tensors import Array

DatePart = Literal["year", "month", "day", "weekday", "hour", "minute", "time"]
_DAY = 86_400
_FIRST, _LAST = -62_135_596_800, 253_402_300_800  # the years 1 to 9999
PLAIN = ("year", "time")  # never cyclic
DATE_PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24, "minute": 60}


class DateParts(BaseModel):
    """Spreads a column of seconds since 1970 (`types=when:date` makes one of ISO 8601 dates) to parts of it, in UTC.

    `cyclic`: the sine and cosine of the part of its turn, so that December is beside January and 23 h beside 0 h;
    `year` and `time` (the seconds themselves) are plain numbers always. month 1 to 12, day 1 to 31, weekday 0 (Monday)
    to 6, hour, minute. Plain numbers are scaled as others are. Predictions take seconds or ISO 8601 words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    parts: Annotated[list[DatePart], Field(min_length=1, max_length=7)] = ["year", "month", "weekday", "hour"]
    encoding: Literal["cyclic", "number"] = "cyclic"

    @model_validator(mode="after")
    def _each_once(self) -> DateParts:
        if len({*self.parts}) < len(self.parts):
            raise PydanticCustomError("twice", "a part is named twice")
        return self

    @property
    def width(self) -> int:
        """How many numbers it gives."""
        return sum(2 if self.encoding == "cyclic" and part in DATE_PERIODS else 1 for part in self.parts)


@dataclass(frozen=True)
class DateFeature:
    """(v - mean) / deviation of each number `columns` gives, from `start` on; of a missing date `fill`, or zeros."""

    name: str
    start: int
    parts: tuple[str, ...]
    encoding: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    fill: float | None  # seconds since 1970
    indicator: int | None
    fills: bool
    drops: bool

    shape: ClassVar[tuple[int, ...]] = ()
    type: ClassVar[str] = "date"

    @property
    def places(self) -> list[int]:
        """Its slots in the whole row."""
        own = list(range(self.start, self.start + len(self.mean)))
        return own if self.indicator is None else [*own, self.indicator]

    def spread(self, seconds: Floats) -> Floats:
        """(rows, numbers) of seconds: (rows,), NaN missing. What is no date of years 1 to 9999 is infinite."""
        missing = np.isnan(seconds)
        filled = np.where(missing, 0.0 if self.fill is None else self.fill, seconds)
        found: Floats = (columns(filled, self.parts, self.encoding) - np.array(self.mean)) / np.array(self.deviation)
        if self.fill is None:
            found[missing] = 0.0
        return found


def columns(seconds: Floats, parts: tuple[str, ...], encoding: str) -> Floats:
    """(rows, numbers) of dates that are all there: (rows,), unscaled."""
    wrong = ~((seconds >= _FIRST) & (seconds < _LAST))
    whole = np.where(wrong, 0.0, np.floor(seconds)).astype(np.int64)
    when, found = whole.astype("datetime64[s]"), list[Array]()
    for part in parts:
        value = seconds if part == "time" else _PARTS[part](whole, when)
        if encoding == "cyclic" and part in DATE_PERIODS:
            first = 1 if part in ("month", "day") else 0
            turn = (value - first) * (2 * math.pi / DATE_PERIODS[part])
            found += [np.sin(turn), np.cos(turn)]
        else:
            found.append(value)
    spread: Floats = np.stack(found, 1).astype(np.float64)
    spread[wrong] = np.inf
    return spread


def _months(when: Array) -> Array:
    return when.astype("datetime64[M]").astype(np.int64)


_PARTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "year": lambda whole, when: when.astype("datetime64[Y]").astype(np.int64) + 1970,
    "month": lambda whole, when: _months(when) % 12 + 1,
    "day": lambda whole, when: (when.astype("datetime64[D]") - when.astype("datetime64[M]")).astype(np.int64) + 1,
    "weekday": lambda whole, when: (whole // _DAY + 3) % 7,  # 1970 began on a Thursday
    "hour": lambda whole, when: whole % _DAY // 3_600,
    "minute": lambda whole, when: whole % 3_600 // 60,
}
