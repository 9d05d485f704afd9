"""What happened, in order. An event's id is its sequence number: a reader that knows one misses nothing after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, bindparam, func, insert, or_, select

from service.storage import moment
from service.storage.database import Database, Prepared
from service.storage.rows import Event, Standing
from service.storage.tables import events, jobs, runs

_EVERY = select(events).where(events.c.id > bindparam("cursor")).order_by(events.c.id).limit(bindparam("most"))
_PREPARED = Prepared(_EVERY)
_STAND = jobs.c.phase, jobs.c.progress, jobs.c.eta_s


class Events:
    """Reads events by cursor, and tells cheaply whether anything has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(
        self, cursor: int = 0, *, job_id: str | None = None, run_id: str | None = None,
        job_ids: Sequence[str] | None = None, run_ids: Sequence[str] | None = None, limit: int = 1000,
    ) -> tuple[Event, ...]:  # fmt: skip
        """Events with an id above `cursor`, oldest first; of these jobs and runs, or all when none is given."""
        asked = {"job_id": job_ids if job_id is None else [job_id], "run_id": run_ids if run_id is None else [run_id]}
        named = {name: ids for name, ids in asked.items() if ids is not None}
        if not named:
            return self._everything(cursor, limit)
        statement = _after(tuple((name, len(ids) == 1) for name, ids in named.items()))
        given = {"cursor": cursor, "most": limit} | {name: _value(ids) for name, ids in named.items()}
        with self._database.read() as connection:
            return tuple(_event(row) for row in connection.execute(statement, given))

    def _everything(self, cursor: int, limit: int) -> tuple[Event, ...]:
        """What a server asks for after every commit, while somebody watches."""
        rows = self._database.look(_PREPARED, {"cursor": cursor, "most": limit})
        return tuple(
            Event(key, run_id, job_id, kind, json.loads(data) if isinstance(data, str) else data, moment.unpack(at))
            for key, run_id, job_id, kind, at, data in rows
        )

    def standings(self, job_ids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> dict[str, Standing]:
        """How jobs and runs stand, by id, at one moment; those that do not exist are left out."""
        found: list[Row[Any]] = []
        with self._database.read() as connection:
            for of_jobs, ids in ((True, job_ids), (False, run_ids)):
                if ids:
                    found += connection.execute(_standing(of_jobs, len(ids) == 1), {"id": _value(ids)})
        return {row.id: Standing(row.status, row.phase, row.progress, row.eta_s) for row in found}

    def latest_id(self) -> int:
        """The newest event's id; 0 when there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(events.c.id))).scalar_one() or 0

    def version(self) -> int:
        """A number that is another one after any commit by any process; costs microseconds."""
        return self._database.version()


# Statements are made once: making one costs more than running it. To look for one of a list costs twice that of one.


@cache
def _after(by: tuple[tuple[str, bool], ...]) -> Select[Any]:
    return _EVERY.where(or_(*(_is(events.c[name], name, single) for name, single in by))) if by else _EVERY


@cache
def _standing(of_jobs: bool, single: bool) -> Select[Any]:
    if of_jobs:
        return select(jobs.c.id, jobs.c.status, *_STAND).where(_is(jobs.c.id, "id", single))
    found = select(runs.c.id, runs.c.status, *_STAND).outerjoin(jobs, jobs.c.id == runs.c.job_id)
    return found.where(_is(runs.c.id, "id", single))


def _is(column: Column[str], name: str, single: bool) -> ColumnElement[bool]:
    return column == bindparam(name) if single else column.in_(bindparam(name, expanding=True))


def _value(ids: Sequence[str]) -> str | list[str]:
    return ids[0] if len(ids) == 1 else list(ids)


def record(connection: Connection, run_id: str | None, job_id: str | None, kind: str, data: Mapping[str, Any]) -> None:
    """Adds an event in the caller's transaction."""
    record_all(connection, run_id, job_id, [(kind, data)])


def record_all(
    connection: Connection, run_id: str | None, job_id: str | None, happened: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """The same for several, in their order."""
    if not happened:
        return
    at = moment.now()
    connection.execute(
        insert(events),
        [{"run_id": run_id, "job_id": job_id, "kind": kind, "at": at, "data": dict(data)} for kind, data in happened],
    )


def _event(row: Row[Any]) -> Event:
    return Event(row.id, row.run_id, row.job_id, row.kind, row.data, moment.unpack(row.at))
