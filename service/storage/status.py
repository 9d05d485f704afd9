"""Which state may follow which, and the one way to change it. A job mirrors its only run, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from service.errors import Conflict, NotFound
from service.storage import events, moment
from service.storage.rows import FINAL, Status
from service.storage.tables import attempts, jobs, runs, transitions

MOVES: Mapping[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
_PHASES = {"queued": "waiting", "running": "preparing"}
_KINDS = {"queued": "requeued", "running": "started", **dict.fromkeys(FINAL, "finished")}


def sources(target: Status) -> list[Status]:
    """The states from which `target` may be reached."""
    return [status for status, targets in MOVES.items() if target in targets]


def move(
    connection: Connection, run_id: str, target: Status, *, data: Mapping[str, Any] | None = None, **columns: Any
) -> None:
    """Moves a run and its job to `target`, with the event. Raises Conflict when that move is not legal."""
    at = moment.now()
    ends = {"ended_at": at} if target in FINAL else {}
    moved = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.status.in_(sources(target)))
        .values(status=target, stop_requested=None, revision=runs.c.revision + 1, **ends, **columns)
        .returning(runs.c.job_id, runs.c.started_at)
    ).one_or_none()
    if moved is None:
        raise _refusal(connection, run_id, target)
    mirror(connection, moved, target, at, **ends)
    events.record(connection, run_id, moved.job_id, _KINDS.get(target, target), {"status": target, **(data or {})})


def mirror(connection: Connection, run: Row[Any], target: Status, at: int, **columns: Any) -> None:
    """Gives the job of a run the run's new state."""
    if run.job_id is None:
        return
    if target in FINAL:
        columns |= {"eta_s": None} | ({"progress": 1.0} if target == "succeeded" else {})
    key = connection.execute(
        update(jobs)
        .where(jobs.c.id == run.job_id)
        .values(
            status=target,
            phase=_PHASES.get(target, target),
            stop_requested=None,
            started_at=run.started_at,
            **columns,
        )
        .returning(jobs.c.key)
    ).scalar_one()
    connection.execute(insert(transitions).values(job_key=key, status=target, at=at))


def end_attempt(connection: Connection, run_key: int, token: int, outcome: str, words: str | None = None) -> None:
    """Writes down how a process life ended."""
    connection.execute(
        update(attempts)
        .where(attempts.c.run_key == run_key, attempts.c.token == token)
        .values(ended_at=moment.now(), outcome=outcome, words=words)
    )


def _refusal(connection: Connection, run_id: str, target: Status) -> Conflict | NotFound:
    status = connection.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar_one_or_none()
    if status is None:
        return NotFound(f"no run {run_id}")
    return Conflict(f"a {status} run cannot become {target}")
