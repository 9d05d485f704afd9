"""One comparison of a search for runs: what may stand on its left, how it compares, and with what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from service.storage.metrics import direction

Which = Literal["last", "first", "min", "max"]
Entity = Literal["metric", "param", "tag", "attribute", "dataset"]
Value = float | str | tuple[str, ...] | None
WHICH: tuple[str, ...] = (*get_args(Which), "best")
STATUS = {
    "queued": "SCHEDULED", "paused": "SCHEDULED", "running": "RUNNING", "succeeded": "FINISHED", "failed": "FAILED",
    "cancelled": "KILLED",
}  # fmt: skip
STATUS_WORDS = tuple(sorted({*STATUS, *STATUS.values()}))
ATTRIBUTES = ("run_id", "run_name", "status", "start_time", "end_time", "user_id", "type", "job_id", "dataset_id")
DATASET_KEYS = ("name", "digest")
NUMERIC = frozenset({"start_time", "end_time"})
SAME = {"created": "start_time", "Created": "start_time", "name": "run_name", "Run name": "run_name",
         "run name": "run_name", "Run Name": "run_name"}  # fmt: skip
ENTITIES: Mapping[str, Entity] = {
    "metric": "metric", "metrics": "metric", **dict.fromkeys(WHICH, "metric"),
    "param": "param", "params": "param", "parameter": "param", "parameters": "param", "spec": "param",
    "tag": "tag", "tags": "tag", "attribute": "attribute", "attributes": "attribute", "attr": "attribute",
    "run": "attribute", "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
ORDERED, EQUAL = ("<", "<=", ">", ">="), ("=", "!=")
TEXT = (*EQUAL, "LIKE", "ILIKE", "IN", "NOT IN")
ABSENT = ("IS NULL", "IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison; all of a filter must hold."""

    entity: Entity
    key: str
    operator: str  # = != < <= > >= LIKE ILIKE IN NOT IN IS NULL IS NOT NULL
    value: Value
    which: Which = "last"  # of a metric


class Identifier(NamedTuple):
    """What a comparison is about."""

    entity: Entity
    which: Which
    key: str


def meant(word: str, metric: str) -> Which | None:
    """Which value of a metric a word means; the best is the lowest or the highest, None when its name does not tell."""
    if word == "best":
        return direction(metric)
    return next((each for each in get_args(Which) if each == word), "last")


def matches(clause: Clause, *words: str) -> bool:
    """Whether a comparison with text holds for a thing that goes by any of these words."""
    if "LIKE" in clause.operator:
        parts = (re.escape(part).replace("_", ".") for part in str(clause.value).split("%"))
        pattern = re.compile(".*".join(parts), re.IGNORECASE if clause.operator == "ILIKE" else 0)
        return any(pattern.fullmatch(word) for word in words)
    given = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    return any(word in given for word in words) == (clause.operator in ("=", "IN"))
