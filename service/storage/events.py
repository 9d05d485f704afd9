"""What happened, in order. An event's id is its sequence number: a reader that knows one misses nothing after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, bindparam, func, insert, or_, select

from service.storage import moment
from service.storage.database import Database
from service.storage.rows import Event, Standing
from service.storage.tables import events, jobs, runs

# Statements made once: making one costs more than running it.
_OF_JOBS = events.c.job_id.in_(bindparam("job_ids", expanding=True))
_OF_RUNS = events.c.run_id.in_(bindparam("run_ids", expanding=True))
_EVERY = select(events).where(events.c.id > bindparam("cursor")).order_by(events.c.id).limit(bindparam("most"))
_AFTER = {
    (False, False): _EVERY,
    (True, False): _EVERY.where(_OF_JOBS),
    (False, True): _EVERY.where(_OF_RUNS),
    (True, True): _EVERY.where(or_(_OF_JOBS, _OF_RUNS)),
}
_IDS = bindparam("ids", type_=Text, expanding=True)
_JOBS_STAND = select(jobs.c.id, jobs.c.status, jobs.c.phase, jobs.c.progress, jobs.c.eta_s).where(jobs.c.id.in_(_IDS))
_RUNS_STAND = (
    select(runs.c.id, runs.c.status, jobs.c.phase, jobs.c.progress, jobs.c.eta_s)
    .outerjoin(jobs, jobs.c.id == runs.c.job_id)
    .where(runs.c.id.in_(_IDS))
)


class Events:
    """Reads events by cursor, and tells cheaply whether anything has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(
        self, cursor: int = 0, *, job_id: str | None = None, run_id: str | None = None,
        job_ids: Sequence[str] | None = None, run_ids: Sequence[str] | None = None, limit: int = 1000,
    ) -> tuple[Event, ...]:  # fmt: skip
        """Events with an id above `cursor`, oldest first; of these jobs and runs, or all when none is given."""
        job_ids = job_ids if job_id is None else [job_id]
        run_ids = run_ids if run_id is None else [run_id]
        statement = _AFTER[job_ids is not None, run_ids is not None]
        asked = {"job_ids": job_ids, "run_ids": run_ids}
        given = {name: list(ids) for name, ids in asked.items() if ids is not None}
        with self._database.read() as connection:
            rows = connection.execute(statement, {"cursor": cursor, "most": limit} | given)
            return tuple(_event(row) for row in rows)

    def standings(self, job_ids: Sequence[str] = (), run_ids: Sequence[str] = ()) -> dict[str, Standing]:
        """How jobs and runs stand, by id, at one moment; those that do not exist are left out."""
        with self._database.read() as connection:
            found = list(connection.execute(_JOBS_STAND, {"ids": list(job_ids)})) if job_ids else []
            found += connection.execute(_RUNS_STAND, {"ids": list(run_ids)}) if run_ids else []
        return {row.id: Standing(row.status, row.phase, row.progress, row.eta_s) for row in found}

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
