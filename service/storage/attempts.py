"""The life of a run in processes: claimed with a token, kept by a lease, ended once. A stale token writes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Update, and_, bindparam, func, insert, select, update

from service import clock
from service.storage import checkpoints, events, moment, series, status, trials
from service.storage.rows import Attempt, Live, Orders, Owner, Report, Status
from service.storage.tables import attempts, jobs, runs

WORDS_CHARACTERS = 4000  # kept of what a dying worker said
_LOSSES = {"internal": "the run failed", "out_of_memory": "the system killed the worker for its memory"}
_PATIENCE = 2520  # with a run that loses its workers; 1 to 10 divide it, so losses of several kinds add up

# Statements made once: making one costs more than running it.
_OF_ATTEMPT = and_(runs.c.id == bindparam("of_run"), runs.c.token == bindparam("of_token"), runs.c.status == "running")
_FENCE = update(runs).where(_OF_ATTEMPT).returning(runs.c.key, runs.c.job_id, runs.c.stop_requested, runs.c.losses)
_HELD = _FENCE.values(token=runs.c.token)
_LOST = _FENCE.values(losses=runs.c.losses + bindparam("blame"))
_RELEASED = _FENCE.values(attempt=runs.c.attempt - 1)
_REPORTED = _FENCE.values(
    revision=runs.c.revision + 1,
    step=func.coalesce(bindparam("at_step"), runs.c.step),
    losses=runs.c.losses * bindparam("keep_losses"),
)
_PROGRESS = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"), jobs.c.type != trials.SEARCH)
    .values({name: func.coalesce(bindparam(f"now_{name}"), jobs.c[name]) for name in ("phase", "progress", "eta_s")})
)
_OWNED = update(attempts).where(attempts.c.run_key == bindparam("of_key"), attempts.c.token == bindparam("of_token"))
_RENEWED = _OWNED.values(lease_until=bindparam("now_s") + attempts.c.lease_s)
_FIRST = (
    select(runs.c.key)
    .where(
        runs.c.status == "queued",
        runs.c.cpus <= bindparam("free_cpus", type_=BigInteger),  # of any number there may be enough
        runs.c.memory_bytes <= bindparam("free_bytes"),
    )
    .order_by(runs.c.urgency, runs.c.place)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIMED = (
    update(runs)
    .where(runs.c.key == bindparam("first"), runs.c.status.in_(status.sources("running")))
    .values(
        status="running",
        token=runs.c.token + 1,
        attempt=runs.c.attempt + 1,
        revision=runs.c.revision + 1,
        started_at=func.coalesce(runs.c.started_at, bindparam("at")),
    )
    .returning(
        *(runs.c[name] for name in ("key", "id", "job_id", "token", "attempt", "cpus", "memory_bytes", "started_at"))
    )
)
_LIVE = (
    select(attempts, runs.c.id, runs.c.cpus, runs.c.memory_bytes, runs.c.stop_requested)
    .join(runs, runs.c.key == attempts.c.run_key)
    .where(runs.c.status == "running", runs.c.token == attempts.c.token)
    .order_by(attempts.c.claimed_at, attempts.c.run_key)
)


class Fenced(Exception):  # noqa: N818 - a state of affairs, not an error
    """The token is not the run's any more: it was taken over, given back or has ended. Write nothing and leave."""


def claim(connection: Connection, owner: Owner, lease_s: float, cpus: int, memory_bytes: int) -> Attempt | None:
    """Takes the first waiting run that fits; None when there is none."""
    first = connection.execute(_FIRST, {"free_cpus": cpus, "free_bytes": memory_bytes}).scalar_one_or_none()
    if first is None:
        return None
    at = moment.now()
    run = connection.execute(_CLAIMED, {"first": first, "at": at}).one()
    status.mirror(connection, run, "running", at, attempt=run.attempt)
    row = {"run_key": run.key, "token": run.token, "claimed_at": at}
    lease = {"lease_s": lease_s, "lease_until": clock.monotonic_s() + lease_s}
    connection.execute(insert(attempts), row | lease | asdict(owner))
    events.record(connection, run.id, run.job_id, "started", {"attempt": run.attempt})
    return Attempt(run.id, run.token, run.cpus, run.memory_bytes)


def report(connection: Connection, attempt: Attempt, told: Report) -> Orders:
    """Metrics, then events, then checkpoints; the lease is renewed. Raises Fenced, having written nothing."""
    got_on = any(each.kind == "state" for each in told.checkpoints)
    run = fence(connection, attempt, _REPORTED, at_step=told.step, keep_losses=int(not got_on))
    series.append(connection, run.key, told.series)
    events.record_all(connection, attempt.run_id, run.job_id, told.events)
    now = {"now_phase": told.phase, "now_progress": told.progress, "now_eta_s": told.eta_s}
    if any(value is not None for value in now.values()):
        told_all = connection.execute(_PROGRESS, {"of_job": run.job_id} | now).rowcount
        if not told_all and run.job_id is not None:
            trials.progressed(connection, run.job_id, told.progress)
    checkpoints.add(connection, run.key, attempt.token, told.checkpoints)
    _renew(connection, run.key, attempt.token)
    return Orders(run.stop_requested)


def renew(connection: Connection, attempt: Attempt) -> Orders:
    """A sign of life and nothing else."""
    run = fence(connection, attempt)
    _renew(connection, run.key, attempt.token)
    return Orders(run.stop_requested)


def attach(connection: Connection, attempt: Attempt, owner: Owner) -> None:
    """Writes down which process the attempt lives in."""
    run = fence(connection, attempt)
    connection.execute(_OWNED.values(asdict(owner)), {"of_key": run.key, "of_token": attempt.token})


def finish(
    connection: Connection, attempt: Attempt, target: Status, told: Report | None, columns: Mapping[str, Any]
) -> None:
    """The verdict. A run that brings no model keeps the best it had published."""
    if told is not None:
        report(connection, attempt, told)
    run = fence(connection, attempt)
    _end(connection, run, attempt, target, outcome=target, **columns)


def release(connection: Connection, attempt: Attempt) -> None:
    """Back to the head of the queue (or where a stop had been asked, there), as if this life had not been."""
    run = fence(connection, attempt, _RELEASED)
    connection.execute(update(jobs).where(jobs.c.id == run.job_id).values(attempt=jobs.c.attempt - 1))
    _end(connection, run, attempt, _stopped(run) or "queued", outcome="released")


def lose(connection: Connection, attempt: Attempt, words: str, code: str, max_attempts: int) -> None:
    """The process died or fell silent: back to the queue, or failed when it got nowhere `max_attempts` times like this.

    Lives lost otherwise since the last checkpoint count by their own measure: 5 of 10 and 2 of 4 make one.
    """
    words = words[-WORDS_CHARACTERS:]
    run = fence(connection, attempt, _LOST, blame=math.ceil(_PATIENCE / max(1, max_attempts)))
    events.record(connection, attempt.run_id, run.job_id, "lost", {"code": code, "words": words})
    stopped = _stopped(run)
    if stopped is not None or run.losses < _PATIENCE:
        _end(connection, run, attempt, stopped or "queued", outcome="lost", words=words)
        return
    error = {
        "code": code,
        "message": f"{_LOSSES.get(code, 'the worker process was lost')} too often without a new checkpoint in between",
        "hint": words.strip().rpartition("\n")[2] or None,
    }
    _end(connection, run, attempt, "failed", outcome="lost", words=words, error=error)


def fence(connection: Connection, attempt: Attempt, statement: Update = _HELD, **values: Any) -> Row[Any]:
    """The run, when the attempt is still its newest and it runs, changed by the statement. Raises Fenced."""
    given = {"of_run": attempt.run_id, "of_token": attempt.token} | values
    row = connection.execute(statement, given).one_or_none()
    if row is None:
        raise Fenced(f"attempt {attempt.token} of {attempt.run_id} is over")
    return row


def live(connection: Connection) -> tuple[Live, ...]:
    """Every attempt that has not ended."""
    now, boot_id = clock.monotonic_s(), clock.boot_id()
    return tuple(_live(row, now, boot_id) for row in connection.execute(_LIVE))


def _live(row: Row[Any], now: float, boot_id: str) -> Live:
    left = row.lease_until - now if row.boot_id == boot_id else -math.inf
    attempt = Attempt(row.id, row.token, row.cpus, row.memory_bytes)
    return Live(attempt, Owner(row.pid, row.started, row.boot_id), left, row.stop_requested)


def _end(
    connection: Connection, run: Row[Any], attempt: Attempt, target: Status, *, outcome: str, words: str | None = None,
    stopped_by: str | None = None, **columns: Any,
) -> None:  # fmt: skip
    status.move(connection, attempt.run_id, target, stopped_by=stopped_by, **columns)
    ended = {"ended_at": moment.now(), "outcome": outcome, "words": words}
    connection.execute(_OWNED.values(ended), {"of_key": run.key, "of_token": attempt.token})


def _stopped(run: Row[Any]) -> Status | None:
    asked: dict[str | None, Status] = {"cancel": "cancelled", "pause": "paused"}
    return asked.get(run.stop_requested)


def _renew(connection: Connection, run_key: int, token: int) -> None:
    connection.execute(_RENEWED, {"of_key": run_key, "of_token": token, "now_s": clock.monotonic_s()})
