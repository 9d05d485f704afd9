"""Job rows as callers see them, put together from the tables in a few queries whatever their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from service.errors import NotFound
from service.storage import moment
from service.storage.rows import Job
from service.storage.tables import jobs, runs, transitions


def one(connection: Connection, job_id: str) -> Job:
    """Raises NotFound."""
    rows = connection.execute(select(jobs).where(jobs.c.id == job_id)).all()
    if not rows:
        raise NotFound(f"no job {job_id}")
    return several(connection, rows)[0]


def several(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Job, ...]:
    """The jobs of these rows, in their order."""
    if not rows:
        return ()
    run_ids, moves = defaultdict[str, list[str]](list), defaultdict[int, list[dict[str, Any]]](list)
    by_job = select(runs.c.job_id, runs.c.id).where(runs.c.job_id.in_([row.id for row in rows])).order_by(runs.c.key)
    for job_id, run_id in connection.execute(by_job):
        run_ids[job_id].append(run_id)
    keys = [row.key for row in rows]
    for move in connection.execute(
        select(transitions).where(transitions.c.job_key.in_(keys)).order_by(transitions.c.key)
    ):
        moves[move.job_key].append({"status": move.status, "at": moment.unpack(move.at)})
    places = _places(connection) if any(row.status == "queued" for row in rows) else {}
    return tuple(_job(row, run_ids[row.id], moves[row.key], places.get(row.id)) for row in rows)


def _places(connection: Connection) -> dict[str, int]:
    """By job: its place in the queue, 1 is next."""
    place = func.row_number().over(order_by=(runs.c.urgency, runs.c.place))
    waiting = select(runs.c.job_id, place).where(runs.c.status == "queued")
    return dict(connection.execute(waiting).all())


def _job(row: Row[Any], run_ids: Sequence[str], moves: Sequence[dict[str, Any]], place: int | None) -> Job:
    return Job(
        id=row.id, type=row.type, name=row.name, tags=tuple(row.tags), status=row.status, phase=row.phase,
        priority=row.priority, spec=row.spec, run_ids=tuple(run_ids), attempt=row.attempt, progress=row.progress,
        eta_s=row.eta_s, stop_requested=row.stop_requested, queue_position=place, stopped_by=row.stopped_by,
        error=row.error, transitions=tuple(moves), created_at=moment.unpack(row.created_at),
        started_at=moment.unpack(row.started_at), ended_at=moment.unpack(row.ended_at),
    )  # fmt: skip
