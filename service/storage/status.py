"""Which state may follow which, and the one way to change it. A job mirrors its runs, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from service.errors import Conflict, NotFound
from service.storage import events, ids, moment, series, trials, webhooks
from service.storage.rows import FINAL, Status
from service.storage.tables import checkpoints, jobs, runs, transitions

MOVES: Mapping[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
_TYPE = select(jobs.c.type).where(jobs.c.id == bindparam("of_job"))
_PHASES = {"queued": "waiting", "running": "preparing"}
_EVENTS = {"queued": "requeued", **dict.fromkeys(FINAL, "finished")}


def sources(target: Status) -> list[Status]:
    """The states from which `target` may be reached."""
    return [status for status, targets in MOVES.items() if target in targets]


def move(connection: Connection, run_id: str, target: Status, *, stopped_by: str | None = None, **columns: Any) -> None:
    """Moves a run and its job to `target`, with the event. Raises NotFound, Conflict when the move is not legal.

    A run that ends without `model_blob` keeps the newest model it had published, which is its best.
    """
    if target == "cancelled":
        stopped_by = stopped_by or "user"
    at = moment.now()
    ended = {"ended_at": columns.get("ended_at", at)} | _model(columns) if target in FINAL else {}
    moved = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.status.in_(sources(target)))
        .values(status=target, stop_requested=None, revision=runs.c.revision + 1, **(columns | ended))
        .returning(runs.c.key, runs.c.job_id, runs.c.started_at)
    ).one_or_none()
    if moved is None:
        raise _refusal(connection, run_id, target)
    said = {name: columns[name] for name in ("error",) if name in columns}
    if target in FINAL:
        series.seal(connection, moved.key)
        mirror(connection, moved, target, at, stopped_by=stopped_by, ended_at=at, **said)
    else:
        mirror(connection, moved, target, at)
    why = {} if stopped_by is None else {"stopped_by": stopped_by}
    events.record(connection, run_id, moved.job_id, _EVENTS.get(target, target), {"status": target, **why, **said})


def mirror(connection: Connection, run: Row[Any], target: Status, at: int, **columns: Any) -> None:
    """Gives the job of a run the run's new state."""
    if run.job_id is None:
        return
    if connection.execute(_TYPE, {"of_job": run.job_id}).scalar_one() == trials.SEARCH:
        trials.mirror(connection, run.job_id, at)
        return
    state: dict[str, Any] = {
        "status": target,
        "phase": _PHASES.get(target, target),
        "stop_requested": None,
        "eta_s": None,
    }
    if target == "succeeded":
        state |= {"progress": 1.0}
    values = state | columns | {"started_at": run.started_at}
    changed = update(jobs).where(jobs.c.id == bindparam("of_job")).values(values)
    key = connection.execute(changed.returning(jobs.c.key), {"of_job": run.job_id}).scalar_one()
    connection.execute(insert(transitions), {"job_key": key, "status": target, "at": at})
    if target in FINAL:
        webhooks.release(connection, run.job_id, at)


def _model(columns: Mapping[str, Any]) -> dict[str, Any]:
    if columns.get("model_blob") is not None:
        return {}
    newest = select(checkpoints).where(checkpoints.c.run_key == runs.c.key, checkpoints.c.kind == "model")
    newest = newest.order_by(checkpoints.c.step.desc(), checkpoints.c.key.desc()).limit(1)
    of_newest = {
        "model_blob": newest.with_only_columns(checkpoints.c.blob),
        "weights_sha256": newest.with_only_columns(checkpoints.c.weights_sha256),
    }
    return {
        name: columns.get(name) or func.coalesce(value.scalar_subquery(), runs.c[name])
        for name, value in of_newest.items()
    }


def _refusal(connection: Connection, run_id: str, target: Status) -> Conflict | NotFound:
    status = connection.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar_one_or_none()
    if status is None:
        return ids.absent("run", run_id)
    return Conflict(f"a {status} run cannot become {target}")
