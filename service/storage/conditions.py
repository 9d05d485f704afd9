"""From comparisons to SQL. Each is either on the run's own row, or the set of runs that some other table names.

Such a set may be large or small; whether a query starts from it or asks for it run by run is for `run_list` to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select

from service.storage import params
from service.storage.clause import STATUS, Clause, matches
from service.storage.tables import datasets, run_params, run_tags, runs, series

EXPERIMENT = "experiment"  # the tag's key that says in which experiment a run is
DEFAULT_EXPERIMENT = "Default"
_NOTES, _RUN_NAME, _USER = "mlflow.note.content", "mlflow.runName", "mlflow.user"
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "run_id": runs.c.id, "run_name": runs.c.name, "type": runs.c.type, "job_id": runs.c.job_id,
    "dataset_id": runs.c.dataset_id, _RUN_NAME: runs.c.name, _NOTES: runs.c.notes,
    "start_time": func.coalesce(runs.c.started_at, runs.c.created_at) // 1000, "end_time": runs.c.ended_at // 1000,
}  # fmt: skip
_COMPARE: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "LIKE": lambda column, value: column.like(value),
    "ILIKE": lambda column, value: column.ilike(value),
    "IN": lambda column, value: column.in_(value),
    "NOT IN": lambda column, value: column.not_in(value),
}


@dataclass(frozen=True, slots=True)
class Keyed:
    """The runs whose keys a query of another table gives; or, when `absent`, all but them."""

    keys: Select[Any]
    key: ColumnElement[int]
    absent: bool = False

    def holds_for(self, run_key: ColumnElement[int]) -> ColumnElement[bool]:
        """Asked for one run at a time."""
        found = exists(self.keys.where(self.key == run_key))
        return ~found if self.absent else found


@dataclass(slots=True)
class Conditions:
    """All must hold."""

    plain: list[ColumnElement[bool]] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)

    def add(self, clauses: Iterable[Clause]) -> None:
        for clause in clauses:
            found = _BY_ENTITY[clause.entity](clause)
            if isinstance(found, Keyed):
                self.keyed.append(found)
            else:
                self.plain.append(found)

    def tagged(self, tag: str) -> None:
        self.keyed.append(_tags(run_tags.c.tag == tag))

    def not_tagged(self, tag: str) -> None:
        self.keyed.append(replace(_tags(run_tags.c.tag == tag), absent=True))

    def in_experiments(self, names: Sequence[str]) -> None:
        """In any of these, where a run that no tag puts anywhere is in the default one."""
        named = _tags(run_tags.c.tag.in_([f"{EXPERIMENT}={name}" for name in names if name != DEFAULT_EXPERIMENT]))
        elsewhere = Keyed(_tags(_under(EXPERIMENT)).keys, run_tags.c.run_key, absent=True)
        if DEFAULT_EXPERIMENT not in names:
            self.keyed.append(named)
        elif len(names) == 1:
            self.keyed.append(elsewhere)
        else:
            self.plain.append(or_(named.holds_for(runs.c.key), elsewhere.holds_for(runs.c.key)))


def _of(column: ColumnElement[Any], clause: Clause) -> ColumnElement[bool]:
    return _COMPARE[clause.operator](column, clause.value)


def _metric(clause: Clause) -> Keyed:
    named = select(series.c.run_key).where(series.c.name == clause.key, _of(series.c[clause.which], clause))
    return Keyed(named, series.c.run_key)


def _param(clause: Clause) -> Keyed:
    named = select(run_params.c.run_key).where(run_params.c.name == clause.key)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        return Keyed(named, run_params.c.run_key, absent=clause.operator == "IS NULL")
    if isinstance(clause.value, float):
        return Keyed(named.where(_of(run_params.c.number, clause)), run_params.c.run_key)
    if isinstance(clause.value, str):
        clause = replace(clause, value=clause.value[: params.MAX_TEXT])
    return Keyed(named.where(_of(run_params.c.text, clause)), run_params.c.run_key)


def _tag(clause: Clause) -> Keyed | ColumnElement[bool]:
    if clause.key in (_RUN_NAME, _NOTES):
        return _nullable(_COLUMNS[clause.key], clause)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        absent = clause.operator == "IS NULL"
        return Keyed(_tags(_under(clause.key)).keys, run_tags.c.run_key, absent=absent)
    if clause.operator == "=" and clause.value:
        return _tags(run_tags.c.tag == f"{clause.key}={clause.value}")
    value = func.substr(run_tags.c.tag, len(clause.key) + 2)
    return _tags(_under(clause.key), _of(value, clause))


def _under(key: str) -> ColumnElement[bool]:
    """Whether a tag is this key, alone or with a value; `>` comes right after `=`."""
    with_value = (run_tags.c.tag >= f"{key}=") & (run_tags.c.tag < f"{key}>")
    return or_(run_tags.c.tag == key, with_value)


def _tags(*where: ColumnElement[bool]) -> Keyed:
    return Keyed(select(run_tags.c.run_key).where(*where), run_tags.c.run_key)


def _attribute(clause: Clause) -> Keyed | ColumnElement[bool]:
    if clause.key == "status":
        return runs.c.status.in_(_statuses(clause))
    if clause.key == "user_id":
        return _tag(Clause("tag", _USER, clause.operator, clause.value))
    return _of(_COLUMNS[clause.key], clause)


def _nullable(column: ColumnElement[Any], clause: Clause) -> ColumnElement[bool]:
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        absent = or_(column.is_(None), column == "")
        return absent if clause.operator == "IS NULL" else ~absent
    return _of(column, clause)


def _statuses(clause: Clause) -> list[str]:
    """The states meant, under our words for them or MLflow's."""
    return [ours for ours, theirs in STATUS.items() if matches(clause, ours, theirs)]


def _dataset(clause: Clause) -> ColumnElement[bool]:
    column = datasets.c.name if clause.key == "name" else datasets.c.sha256
    return runs.c.dataset_id.in_(select(datasets.c.id).where(_of(column, clause)))


_BY_ENTITY: Mapping[str, Callable[[Clause], Keyed | ColumnElement[bool]]] = {
    "metric": _metric, "param": _param, "tag": _tag, "attribute": _attribute, "dataset": _dataset,
}  # fmt: skip
