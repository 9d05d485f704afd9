"""Run rows as callers see them, and the order in which a list gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, null, or_, select

from service.errors import Fault, InvalidSpec, NotFound
from service.storage import cursor, metrics, moment
from service.storage.rows import Page, Run
from service.storage.tables import runs, series

_SHORT = [column for column in runs.c if column is not runs.c.report]
_VALUES = {"last": series.c.last, "min": series.c.min, "max": series.c.max}


def one(connection: Connection, run_id: str) -> Run:
    """Raises NotFound."""
    rows = connection.execute(select(runs).where(runs.c.id == run_id)).all()
    if not rows:
        raise NotFound(f"no run {run_id}")
    return _several(connection, rows)[0]


def page(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], sort: str, after: str | None, limit: int
) -> Page[Run]:
    """A page of the runs that meet the conditions. Raises InvalidSpec."""
    descending, key = sort.startswith("-"), sort.removeprefix("-")
    if key == "created_at":
        return _by_creation(connection, select(*_SHORT).where(*conditions), descending, after, limit)
    value = _value(key, descending)
    return _by_metric(connection, conditions, value, key.partition(".")[2], descending, after, limit)


def _by_creation(
    connection: Connection, query: Select[Any], descending: bool, after: str | None, limit: int
) -> Page[Run]:
    if after is not None:
        (last,) = cursor.decode(after, int)
        query = query.where(runs.c.key < last if descending else runs.c.key > last)
    order = runs.c.key.desc() if descending else runs.c.key
    rows = connection.execute(query.order_by(order).limit(limit + 1)).all()
    return Page(_several(connection, rows[:limit]), cursor.encode(rows[limit - 1].key) if len(rows) > limit else None)


def _by_metric(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], value: ColumnElement[float], name: str,
    descending: bool, after: str | None, limit: int,
) -> Page[Run]:  # fmt: skip
    """Runs that have the value in its order, then those that have none; the newest first among equals."""
    last_value, last_key = (None, None) if after is None else cursor.decode(after, (float, int, type(None)), int)
    rows: list[Any] = []
    if after is None or last_value is not None:
        with_value = select(*_SHORT, value.label("value")).join(series, series.c.run_key == runs.c.key)
        query = with_value.where(series.c.name == name, value.is_not(None), *conditions)
        if after is not None:
            beyond = value < last_value if descending else value > last_value
            query = query.where(or_(beyond, and_(value == last_value, runs.c.key < last_key)))
        order = value.desc() if descending else value
        rows += connection.execute(query.order_by(order, series.c.run_key.desc()).limit(limit + 1)).all()
    if len(rows) <= limit:
        has = select(series.c.run_key).where(series.c.name == name, value.is_not(None))
        query = select(*_SHORT, null().label("value")).where(runs.c.key.not_in(has), *conditions)
        if after is not None and last_value is None:
            query = query.where(runs.c.key < last_key)
        rows += connection.execute(query.order_by(runs.c.key.desc()).limit(limit + 1 - len(rows))).all()
    more = len(rows) > limit
    return Page(
        _several(connection, rows[:limit]), cursor.encode(rows[limit - 1].value, rows[limit - 1].key) if more else None
    )


def _value(key: str, descending: bool) -> ColumnElement[float]:
    which, _, name = key.partition(".")
    if which == "best":
        which = "max" if descending else "min"
    if which not in _VALUES or not name:
        allowed = ("created_at", "best.<metric>", "last.<metric>", "min.<metric>", "max.<metric>")
        message = f"cannot sort by {key!r}"
        raise InvalidSpec(message, faults=[Fault("/sort", "unknown_sort", message, allowed=allowed)])
    return _VALUES[which]


def _several(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Run, ...]:
    summaries = metrics.summaries(connection, [row.key for row in rows])
    return tuple(_run(row, summaries.get(row.key, {})) for row in rows)


def _run(row: Row[Any], summary: dict[str, dict[str, Any]]) -> Run:
    return Run(
        id=row.id, job_id=row.job_id, type=row.type, name=row.name, tags=tuple(row.tags), notes=row.notes,
        status=row.status, spec=row.spec, dataset_id=row.dataset_id, step=row.step, summary=summary,
        weights_sha256=row.weights_sha256, model_blob=row.model_blob, receipt=row.receipt,
        report=getattr(row, "report", {}), error=row.error, created_at=moment.unpack(row.created_at),
        started_at=moment.unpack(row.started_at), ended_at=moment.unpack(row.ended_at), revision=row.revision,
    )  # fmt: skip
