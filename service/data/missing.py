"""What stands for a value that is missing: said for each column, found in the training part, kept with the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from service.data.description import ColumnDescription
from service.data.faults import SpecFaults
from service.data.place import pointer
from service.data.statistics import Floats
from service.errors import did_you_mean


class _Policy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Fill(_Policy):
    indicator: bool = Field(default=True, description="Numbers: a slot beside it that is 1 where the value is missing.")


class Mean(_Fill):
    """The mean of the training part; what numbers get when nothing is said."""

    kind: Literal["mean"]


class Median(_Fill):
    """The median of the training part: few large values do not move it."""

    kind: Literal["median"]


class MostFrequent(_Fill):
    """The most frequent value of the training part; of equals the least number, the first word."""

    kind: Literal["most_frequent"]


class Constant(_Fill):
    """This number, or this word."""

    kind: Literal["constant"]
    value: (
        Annotated[float, Field(ge=-1e300, le=1e300)]
        | Annotated[str, Field(min_length=1, max_length=1000)]
    )  # fmt: skip


class OwnCategory(_Policy):
    """A category like any other; what words get when nothing is said."""

    kind: Literal["own_category"]


class Drop(_Policy):
    """The row is left out of every part. A model is then not asked about such rows: they are refused."""

    kind: Literal["drop"]


Policy = Annotated[Mean | Median | MostFrequent | Constant | OwnCategory | Drop, Field(discriminator="kind")]
_NUMBERS, _WORDS = ("mean", "median", "most_frequent", "constant", "drop"), (
    "own_category", "most_frequent", "constant", "drop",
)  # fmt: skip


def _one_or_many(value: object) -> str | None:
    if isinstance(value, Mapping):
        return "one" if isinstance(value.get("kind"), str) else "many"
    return "one" if isinstance(value, _Policy) else None


Missing = Annotated[
    Annotated[Policy, Tag("one")]
    | Annotated[dict[Annotated[str, Field(max_length=256)], Policy], Field(max_length=1000), Tag("many")],
    Discriminator(
        _one_or_many,
        custom_error_type="policy",
        custom_error_message='expected a policy, as {"kind": "median"}, or an object with one for each column',
    ),
]


def policy_of(missing: Missing | None, column: ColumnDescription) -> Policy | None:
    """What is said of a column; one for all is for those that it suits."""
    if missing is None or isinstance(missing, dict):
        return (missing or {}).get(column.name)
    return missing if _suits(missing, column) else None


def check_missing(missing: Missing | None, features: list[ColumnDescription], faults: SpecFaults) -> None:
    """Every policy is of a column that is learned from, and suits it."""
    columns = {column.name: column for column in features}
    for name, policy in (missing if isinstance(missing, dict) else {}).items():
        place = pointer("dataset", "missing", name)
        if name not in columns:
            message = f"no column {name!r} is learned from"
            faults.add(place, "unknown_column", message, did_you_mean(name, list(columns)), tuple(columns)[:20])
        elif not _suits(policy, columns[name]):
            kind = columns[name].type
            faults.add(place, "policy_misfit", f"{policy.kind} does not suit column {name!r}, a {kind}",
                       allowed=_kinds(columns[name]))  # fmt: skip


def drops(policy: Policy | None) -> bool:
    """Whether rows without the value are left out."""
    return isinstance(policy, Drop)


def indicated(policy: Policy | None) -> bool:
    """Whether a slot tells where a number is missing."""
    return policy is None or (isinstance(policy, _Fill) and policy.indicator)


def number_for(policy: Policy | None, values: Floats) -> float | None:
    """What stands for a missing one of these numbers; None for their mean."""
    present = values[~np.isnan(values)]
    match policy:
        case Constant() if not isinstance(policy.value, str):
            return policy.value
        case Median() if len(present):
            return float(np.median(present))
        case MostFrequent() if len(present):
            found, counts = np.unique(present, return_counts=True)
            return float(found[counts.argmax()])
    return None


def _suits(policy: Policy, column: ColumnDescription) -> bool:
    if isinstance(policy, Constant) and isinstance(policy.value, str) == (column.type == "number"):
        return False
    return policy.kind in _kinds(column)


def _kinds(column: ColumnDescription) -> tuple[str, ...]:
    if column.type == "number" and not column.shape:
        return _NUMBERS
    return _WORDS if column.type == "category" else ()
