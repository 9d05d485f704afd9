"""What a search tries: values for fields of a training spec, every combination or so many drawn at random."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

MOST_TRIALS = 200
Candidate = Mapping[str, Any]
"""By field: its value."""

Path = Annotated[str, StringConstraints(max_length=200, pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$")]
Values = Annotated[list[JsonValue], Field(min_length=1, max_length=MOST_TRIALS)]
_Number = Annotated[float, Field(ge=-1e15, le=1e15)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(_Spec):
    """Numbers from `low` to `high`, both included; with `scale` log every factor is as likely as any other."""

    low: _Number
    high: _Number
    scale: Literal["linear", "log"] = "linear"
    integer: bool = Field(default=False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _upwards(self) -> Range:
        if self.low > self.high or (self.scale == "log" and self.low <= 0):
            raise PydanticCustomError("range", "low must be at most high, and above 0 on a logarithmic scale")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise PydanticCustomError("range", "the ends of a range of whole numbers are whole")
        return self

    def at(self, u: float) -> float | int:
        """The number at the share `u`, from 0 to below 1, of the range."""
        if not self.integer:
            return min(self.high, max(self.low, self._scaled(self.low, self.high, u)))
        return min(int(self.high), max(int(self.low), round(self._scaled(self.low - 0.5, self.high + 0.5, u))))

    def _scaled(self, low: float, high: float, u: float) -> float:
        if self.scale == "log":
            return float(math.exp(math.log(low) + u * (math.log(high) - math.log(low))))
        return low + u * (high - low)


class Grid(_Spec):
    """Every combination of the values, the last field's changing first.

    Fields are paths into `train`: `optimizer.learning_rate`, `network.layers.0.units`; a whole object is a value too.
    """

    kind: Literal["grid"]
    fields: Annotated[dict[Path, Values], Field(min_length=1, max_length=10)]

    def candidates(self) -> Iterator[Candidate]:
        """At most one more than a search may have."""
        every = itertools.product(*self.fields.values())
        for values in itertools.islice(every, MOST_TRIALS + 1):
            yield dict(zip(self.fields, values, strict=True))


Choice = Annotated[
    Annotated[Values, Tag("many")] | Annotated[Range, Tag("object")],
    Discriminator(
        lambda value: "many" if isinstance(value, list) else "object" if isinstance(value, dict | Range) else None,
        custom_error_type="values_or_range",
        custom_error_message='expected a list of values, or a range {"low": 0.001, "high": 0.1}',
    ),
]


class Random(_Spec):
    """`count` combinations drawn from lists and ranges; the same `seed` draws the same."""

    kind: Literal["random"]
    fields: Annotated[dict[Path, Choice], Field(min_length=1, max_length=10)]
    count: int = Field(ge=1, le=MOST_TRIALS)
    seed: int = Field(default=0, ge=0, lt=2**63)

    def candidates(self) -> Iterator[Candidate]:
        """In the order of their drawing."""
        draw = random.Random(self.seed)
        for _ in range(self.count):
            yield {name: _drawn(choice, draw.random()) for name, choice in self.fields.items()}


def _drawn(choice: list[Any] | Range, u: float) -> Any:
    return choice.at(u) if isinstance(choice, Range) else choice[int(u * len(choice))]


def placed(document: Any, path: str, value: Any) -> Any:
    """The document with the value at the path; what is not there is made. Raises KeyError when it cannot be."""
    name, _, rest = path.partition(".")
    if isinstance(document, list):
        if not name.isdecimal() or int(name) >= len(document):
            raise KeyError(name)
        at = int(name)
        return [*document[:at], placed(document[at], rest, value) if rest else value, *document[at + 1 :]]
    if document is not None and not isinstance(document, dict):
        raise KeyError(name)
    known = document or {}
    return known | {name: placed(known.get(name), rest, value) if rest else value}


def standing(document: Any, path: str) -> Any:
    """The value at the path; None when there is none."""
    for name in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(name)
        else:
            document = document[int(name)] if isinstance(document, list) else None
    return document
