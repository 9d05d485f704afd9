"""The life of a run in processes: claimed with a token, kept by a lease, ended once. A stale token writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from service import clock
from service.storage import checkpoints, events, moment, series, status
from service.storage.rows import FINAL, Attempt, Live, Orders, Owner, Report, Status
from service.storage.tables import attempts, jobs, runs

WORDS_CHARACTERS = 4000  # kept of what a dying worker said


class Fenced(Exception):  # noqa: N818 - a state of affairs, not an error
    """The token is not the run's any more: it was taken over, given back or has ended. Write nothing and leave."""


def claim(connection: Connection, owner: Owner, lease_s: float, cpus: int, memory_bytes: int) -> Attempt | None:
    """Takes the first waiting run that fits; None when there is none."""
    first = (
        select(runs.c.key)
        .where(runs.c.status == "queued", runs.c.cpus <= cpus, runs.c.memory_bytes <= memory_bytes)
        .order_by(runs.c.urgency, runs.c.place)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    at = moment.now()
    waiting = connection.execute(first).scalar_one_or_none()
    if waiting is None:
        return None
    run = connection.execute(
        update(runs)
        .where(runs.c.key == waiting, runs.c.status.in_(status.sources("running")))
        .values(
            status="running",
            token=runs.c.token + 1,
            attempt=runs.c.attempt + 1,
            revision=runs.c.revision + 1,
            started_at=func.coalesce(runs.c.started_at, at),
        )
        .returning(
            runs.c.key, runs.c.id, runs.c.job_id, runs.c.token, runs.c.attempt, runs.c.cpus, runs.c.memory_bytes,
            runs.c.started_at,
        )
    ).one()  # fmt: skip
    status.mirror(connection, run, "running", at, attempt=run.attempt)
    connection.execute(
        insert(attempts).values(
            run_key=run.key, token=run.token, lease_s=lease_s, lease_until=clock.monotonic_s() + lease_s,
            claimed_at=at, **_columns(owner),
        )
    )  # fmt: skip
    events.record(connection, run.id, run.job_id, "started", {"attempt": run.attempt})
    return Attempt(run.id, run.token, run.cpus, run.memory_bytes)


def report(connection: Connection, attempt: Attempt, told: Report) -> Orders:
    """Metrics, then events, then checkpoints; the lease is renewed. Raises Fenced, having written nothing."""
    changes = {} if told.step is None else {"step": told.step}
    if any(each.kind == "state" for each in told.checkpoints):
        changes["losses"] = 0
    run = fence(connection, attempt, revision=runs.c.revision + 1, **changes)
    series.append(connection, run.key, told.series)
    events.record_all(connection, attempt.run_id, run.job_id, told.events)
    given = {"phase": told.phase, "progress": told.progress, "eta_s": told.eta_s}
    known = {name: value for name, value in given.items() if value is not None}
    if known:
        connection.execute(update(jobs).where(jobs.c.id == run.job_id).values(known))
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
    connection.execute(
        update(attempts).where(attempts.c.run_key == run.key, attempts.c.token == attempt.token).values(_columns(owner))
    )


def finish(
    connection: Connection, attempt: Attempt, target: Status, told: Report | None, columns: Mapping[str, Any]
) -> None:
    """The verdict. A run that brings no model keeps the best it had published."""
    if told is not None:
        report(connection, attempt, told)
    run = fence(connection, attempt)
    _end(connection, run, attempt, target, dict(columns))


def release(connection: Connection, attempt: Attempt) -> None:
    """Back to the head of the queue (or where a stop had been asked, there), as if this life had not been."""
    run = fence(connection, attempt, attempt=runs.c.attempt - 1)
    connection.execute(update(jobs).where(jobs.c.id == run.job_id).values(attempt=jobs.c.attempt - 1))
    _end(connection, run, attempt, _stopped(run) or "queued", {}, outcome="released")


def lose(connection: Connection, attempt: Attempt, words: str, code: str, max_attempts: int) -> None:
    """The process died or fell silent: back to the queue, or failed when it got nowhere `max_attempts` times."""
    words = words[-WORDS_CHARACTERS:]
    run = fence(connection, attempt, losses=runs.c.losses + 1)
    events.record(connection, attempt.run_id, run.job_id, "lost", {"code": code, "words": words})
    if (stopped := _stopped(run)) is not None or run.losses < max_attempts:
        _end(connection, run, attempt, stopped or "queued", {}, outcome="lost", words=words)
        return
    error = {
        "code": code,
        "message": f"the worker process was lost {run.losses} times without a new checkpoint in between",
        "hint": words.strip().rpartition("\n")[2] or None,
    }
    _end(connection, run, attempt, "failed", {"error": error}, outcome="lost", words=words)


def fence(connection: Connection, attempt: Attempt, /, **columns: Any) -> Row[Any]:
    """The run, changed by `columns`, when the attempt is still its newest and it runs. Raises Fenced."""
    row = connection.execute(
        update(runs)
        .where(runs.c.id == attempt.run_id, runs.c.token == attempt.token, runs.c.status == "running")
        .values(columns or {"token": runs.c.token})
        .returning(runs.c.key, runs.c.job_id, runs.c.stop_requested, runs.c.losses, runs.c.model_blob)
    ).one_or_none()
    if row is None:
        raise Fenced(f"attempt {attempt.token} of {attempt.run_id} is over")
    return row


def live(connection: Connection) -> tuple[Live, ...]:
    """Every attempt that has not ended."""
    query = (
        select(attempts, runs.c.id, runs.c.cpus, runs.c.memory_bytes, runs.c.stop_requested)
        .join(runs, runs.c.key == attempts.c.run_key)
        .where(runs.c.status == "running", runs.c.token == attempts.c.token)
        .order_by(attempts.c.claimed_at, attempts.c.run_key)
    )
    now, boot_id = clock.monotonic_s(), clock.boot_id()
    return tuple(_live(row, now, boot_id) for row in connection.execute(query))


def _live(row: Row[Any], now: float, boot_id: str) -> Live:
    left = row.lease_until - now if row.boot_id == boot_id else float("-inf")
    return Live(
        Attempt(row.id, row.token, row.cpus, row.memory_bytes),
        Owner(row.pid, row.started, row.boot_id),
        left,
        row.stop_requested,
    )


def _end(
    connection: Connection, run: Row[Any], attempt: Attempt, target: Status, columns: dict[str, Any],
    *, outcome: str | None = None, words: str | None = None,
) -> None:  # fmt: skip
    if target in FINAL and columns.get("model_blob") is None:
        columns.pop("model_blob", None)
        best = checkpoints.newest(connection, run.key, "model")
        if best is not None:
            columns |= {"model_blob": best.blob, "weights_sha256": columns.get("weights_sha256") or best.weights_sha256}
    of_job = {name: columns[name] for name in ("error",) if name in columns}
    stopped_by = columns.pop("stopped_by", None)
    status.move(connection, attempt.run_id, target, data={"stopped_by": stopped_by, **of_job}, **columns)
    if of_job or stopped_by is not None:
        connection.execute(update(jobs).where(jobs.c.id == run.job_id).values(stopped_by=stopped_by, **of_job))
    status.end_attempt(connection, run.key, attempt.token, outcome or target, words)


def _stopped(run: Row[Any]) -> Status | None:
    asked: dict[str | None, Status] = {"cancel": "cancelled", "pause": "paused"}
    return asked.get(run.stop_requested)


def _renew(connection: Connection, run_key: int, token: int) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.run_key == run_key, attempts.c.token == token)
        .values(lease_until=clock.monotonic_s() + attempts.c.lease_s)
    )


def _columns(owner: Owner) -> dict[str, Any]:
    return {"pid": owner.pid, "started": owner.started, "boot_id": owner.boot_id}
