"""What happened, in order. An event's id is its sequence number: a reader that knows one misses nothing after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from service.storage import moment
from service.storage.database import Database
from service.storage.rows import Event
from service.storage.tables import events


class Events:
    """Reads events by cursor, and tells cheaply whether anything has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(
        self, cursor: int = 0, *, job_id: str | None = None, run_id: str | None = None,
        run_ids: Sequence[str] | None = None, limit: int = 1000,
    ) -> tuple[Event, ...]:  # fmt: skip
        """Events with an id above `cursor`, oldest first; of one job, one run, several runs, or all."""
        query = select(events).where(events.c.id > cursor).order_by(events.c.id).limit(limit)
        if job_id is not None:
            query = query.where(events.c.job_id == job_id)
        if run_id is not None:
            query = query.where(events.c.run_id == run_id)
        if run_ids is not None:
            query = query.where(events.c.run_id.in_(run_ids))
        with self._database.read() as connection:
            return tuple(_event(row) for row in connection.execute(query))

    def latest_id(self) -> int:
        """The newest event's id; 0 when there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(events.c.id))).scalar_one() or 0

    def version(self) -> int:
        """A number that is another one after any commit by any process; costs microseconds."""
        return self._database.version()


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
