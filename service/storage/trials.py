"""A search is one job of many runs: how it stands is what its runs say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Case, Connection, bindparam, case, insert, select, update

from service.storage import webhooks
from service.storage.rows import FINAL, Status
from service.storage.tables import jobs, runs, transitions

SEARCH = "search"
_RUNS = (
    select(runs.c.status, runs.c.stop_requested, runs.c.attempt, runs.c.started_at, runs.c.error)
    .where(runs.c.job_id == bindparam("of_job"))
    .order_by(runs.c.key)
)
_JOB = select(jobs.c.key, jobs.c.status).where(jobs.c.id == bindparam("of_job"))
_PROGRESS = update(jobs).where(jobs.c.id == bindparam("of_job"))


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
    values: dict[str, Any] = {
        "status": status, "phase": _phase(every, status), "eta_s": None,
        "stop_requested": next((run.stop_requested for run in every if run.stop_requested), None),
        "attempt": sum(run.attempt for run in every),
        "started_at": min((run.started_at for run in every if run.started_at is not None), default=None),
        "progress": _at_least(_done(every) / len(every)),
    }  # fmt: skip
    if status in FINAL:
        error = next((run.error for run in every if run.error), None) if status == "failed" else None
        values |= {"ended_at": at, "error": error, "stopped_by": "user" if status == "cancelled" else None}
        webhooks.release(connection, job_id, at)
    connection.execute(update(jobs).where(jobs.c.key == job.key).values(values))
    if status != job.status:
        connection.execute(insert(transitions), {"job_key": job.key, "status": status, "at": at})


def progressed(connection: Connection, job_id: str, progress: float | None) -> None:
    """One of its running trials has got so far; what is told of a search never falls back."""
    if progress is not None:
        every = connection.execute(_RUNS, {"of_job": job_id}).all()
        share = (_done(every) + progress) / len(every)
        connection.execute(_PROGRESS.values(progress=_at_least(share)), {"of_job": job_id})


def _phase(every: Sequence[Any], status: str) -> str:
    if status == "running":
        return f"trial {min(_ended(every) + 1, len(every))} of {len(every)}"
    return "waiting" if status == "queued" else status


def _at_least(share: float) -> Case[float]:
    return case((jobs.c.progress < share, share), else_=jobs.c.progress)


def _done(every: Sequence[Any]) -> int:
    return sum(run.status in ("succeeded", "failed") for run in every)


def _ended(every: Sequence[Any]) -> int:
    return sum(run.status in FINAL for run in every)
