"""A search is one job of many runs: how it stands is what its runs say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from service.storage import moment, webhooks
from service.storage.rows import FINAL, Status
from service.storage.tables import jobs, runs, transitions

SEARCH = "search"
_RUNS = (
    select(runs.c.status, runs.c.stop_requested, runs.c.attempt, runs.c.started_at, runs.c.error)
    .where(runs.c.job_id == bindparam("of_job"))
    .order_by(runs.c.key)
)
_JOB = select(jobs.c.key, jobs.c.status, jobs.c.progress).where(jobs.c.id == bindparam("of_job")).with_for_update()
_OF_JOB = update(jobs).where(jobs.c.key == bindparam("of_key"))
_MOVES = (
    select(transitions.c.status, transitions.c.at)
    .where(transitions.c.job_key == bindparam("of_key"))
    .order_by(transitions.c.key)
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a search, as it is submitted."""

    spec: Mapping[str, Any]
    memory_bytes: int = 0


def together(states: Sequence[str]) -> Status:
    """How a job stands whose runs stand so. It runs from the first one's start to the last one's end.

    It has succeeded when one run has, and failed when none has; cancelled when one was.
    """
    found = set(states)
    if "running" in found or ("queued" in found and found & FINAL):
        return "running"
    for status in ("queued", "paused", "cancelled", "succeeded"):
        if status in found:
            return status
    return "failed"


def mirror(connection: Connection, job_id: str, at: int) -> None:
    """Gives a search the state of its runs, in the transaction that changed one of them."""
    of_job = {"of_job": job_id}
    every, job = connection.execute(_RUNS, of_job).all(), connection.execute(_JOB, of_job).one()
    status = together([run.status for run in every])
    progress = max(job.progress, _done(every) / len(every))
    values: dict[str, Any] = {
        "status": status, "phase": _phase(every, status), "progress": progress,
        "eta_s": _left_s(connection, job.key, progress, at) if status == job.status == "running" else None,
        "stop_requested": next((run.stop_requested for run in every if run.stop_requested), None),
        "attempt": sum(run.attempt for run in every),
        "started_at": min((run.started_at for run in every if run.started_at is not None), default=None),
    }  # fmt: skip
    if status in FINAL:
        error = next((run.error for run in every if run.error), None) if status == "failed" else None
        values |= {"ended_at": at, "error": error, "stopped_by": "user" if status == "cancelled" else None}
        webhooks.release(connection, job_id, at)
    connection.execute(_OF_JOB.values(values), {"of_key": job.key})
    if status != job.status:
        connection.execute(insert(transitions), {"job_key": job.key, "status": status, "at": at})


def progressed(connection: Connection, job_id: str, progress: float | None) -> None:
    """One of its running trials has got so far; what is told of a search never falls back."""
    if progress is None:
        return
    of_job = {"of_job": job_id}
    every, job = connection.execute(_RUNS, of_job).all(), connection.execute(_JOB, of_job).one()
    share = max(job.progress, (_done(every) + progress) / len(every))
    left_s = _left_s(connection, job.key, share, moment.now())
    connection.execute(_OF_JOB.values(progress=share, eta_s=left_s), {"of_key": job.key})


def _left_s(connection: Connection, key: int, progress: float, at: int) -> float | None:
    """At the pace so far; while it waited or was paused it had none."""
    moves = connection.execute(_MOVES, {"of_key": key}).all()
    ends = [*(move.at for move in moves[1:]), at]
    ran = sum(end - move.at for move, end in zip(moves, ends, strict=True) if move.status == "running")
    return ran / 1e6 * (1 - progress) / progress if progress > 0 else None


def _phase(every: Sequence[Any], status: str) -> str:
    if status == "running":
        return f"trial {min(_ended(every) + 1, len(every))} of {len(every)}"
    return "waiting" if status == "queued" else status


def _done(every: Sequence[Any]) -> int:
    return sum(run.status in ("succeeded", "failed") for run in every)


def _ended(every: Sequence[Any]) -> int:
    return sum(run.status in FINAL for run in every)
