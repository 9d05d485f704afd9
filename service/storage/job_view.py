"""Job rows as callers see them, put together from the tables in a few queries whatever their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select

from service.storage import ids, moment
from service.storage.rows import Job
from service.storage.tables import jobs, runs, transitions

# Statements made once: making one costs more than running it.
_ONE = select(jobs).where(jobs.c.id == bindparam("job_id"))
_RUNS = (
    select(runs.c.job_id, runs.c.id).where(runs.c.job_id.in_(bindparam("job_ids", expanding=True))).order_by(runs.c.key)
)
_MOVES = (
    select(transitions).where(transitions.c.job_key.in_(bindparam("keys", expanding=True))).order_by(transitions.c.key)
)
_QUEUE = select(runs.c.job_id, func.row_number().over(order_by=(runs.c.urgency, runs.c.place)))
_QUEUE = _QUEUE.where(runs.c.status == "queued")
_mine = runs.alias("mine")
_next = runs.alias("next")
_next_place = (
    select(func.min(_next.c.place)).where(_next.c.job_id == bindparam("job_id"), _next.c.status == "queued")
).scalar_subquery()  # a search has several
_AHEAD = (
    select(_mine.c.job_id, func.count())
    .join(
        runs,
        or_(runs.c.urgency < _mine.c.urgency, and_(runs.c.urgency == _mine.c.urgency, runs.c.place <= _mine.c.place)),
    )
    .where(_mine.c.job_id == bindparam("job_id"), _mine.c.place == _next_place, runs.c.status == "queued")
    .group_by(_mine.c.job_id)
)


def one(connection: Connection, job_id: str) -> Job:
    """Raises NotFound."""
    rows = connection.execute(_ONE, {"job_id": job_id}).all()
    if not rows:
        raise ids.absent("job", job_id)
    return several(connection, rows)[0]


def several(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Job, ...]:
    """The jobs of these rows, in their order."""
    run_ids, moves = defaultdict[str, list[str]](list), defaultdict[int, list[dict[str, Any]]](list)
    for job_id, run_id in connection.execute(_RUNS, {"job_ids": [row.id for row in rows]}):
        run_ids[job_id].append(run_id)
    for move in connection.execute(_MOVES, {"keys": [row.key for row in rows]}):
        moves[move.job_key].append({"status": move.status, "at": moment.unpack(move.at)})
    places = _places(connection, [row.id for row in rows if row.status == "queued"])
    return tuple(_job(row, run_ids[row.id], moves[row.key], places.get(row.id)) for row in rows)


def _places(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """By job: its place in the queue, 1 is next."""
    if not job_ids:
        return {}
    if len(job_ids) == 1:
        return dict(connection.execute(_AHEAD, {"job_id": job_ids[0]}).all())
    return dict(reversed(connection.execute(_QUEUE.order_by(runs.c.urgency, runs.c.place)).all()))


def _job(row: Row[Any], run_ids: Sequence[str], moves: Sequence[dict[str, Any]], place: int | None) -> Job:
    return Job(
        id=row.id, type=row.type, name=row.name, tags=tuple(row.tags), status=row.status, phase=row.phase,
        priority=row.priority, spec=row.spec, run_ids=tuple(run_ids), attempt=row.attempt, progress=row.progress,
        eta_s=row.eta_s, stop_requested=row.stop_requested, queue_position=place, stopped_by=row.stopped_by,
        error=row.error, transitions=tuple(moves), created_at=moment.unpack(row.created_at),
        started_at=moment.unpack(row.started_at), ended_at=moment.unpack(row.ended_at),
        warnings=tuple(row.warnings or ()),
    )  # fmt: skip
