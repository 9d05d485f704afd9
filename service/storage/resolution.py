"""What a model's reference means now; where it means nothing, the run that may be asked instead."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from service.errors import Conflict, NotFound
from service.storage import aliases, checkpoints, ids
from service.storage.rows import FINAL, Resolved
from service.storage.tables import jobs, model_versions, runs
from service.storage.trials import SEARCH

_EVENTS = "GET /v1/jobs/{}/events?wait=30"
_WAIT = {
    "queued": f"Wait for its turn: {_EVENTS} tells of it.",
    "paused": "POST /v1/jobs/{}/resume lets it go on.",
    "running": f"Wait for its end: {_EVENTS} tells of it.",
}
_WAIT_FOR_EPOCH = f"Wait for its first epoch's end, `improved` in {_EVENTS}."
_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "was cancelled"}


def resolve(connection: Connection, ref: str) -> Resolved:
    """Raises NotFound; Conflict when it is a run without weights."""
    if ref.startswith("run_"):
        run_id, _, which = ref.partition("@")
        if which not in ("", "latest"):
            raise NotFound(f"no model {ref}", hint="Of a run there is only run_...@latest.")
        return of_run(connection, ref, run_id, latest=which == "latest")
    row = _pointed(connection, ref)
    kind = connection.execute(select(runs.c.type).where(runs.c.id == row.run_id)).scalar_one()
    return Resolved(ref, row.run_id, kind, row.blob, row.name, row.version)


def of_run(connection: Connection, ref: str, run_id: str, *, latest: bool) -> Resolved:
    """The best weights of a run, or its newest. Raises NotFound; Conflict when it has none."""
    run = connection.execute(
        select(runs.c.key, runs.c.id, runs.c.job_id, runs.c.type, runs.c.model_blob, runs.c.status).where(
            runs.c.id == run_id
        )
    ).one_or_none()
    if run is None:
        raise _absent(connection, "run", run_id, run_id)
    published = checkpoints.newest(connection, run.key, "model")
    blob = run.model_blob or (None if published is None else published.blob)
    if blob is None or run.type == "evaluate":  # which has the model's that it looked at
        raise _weightless(run)
    state = checkpoints.newest(connection, run.key, "state") if latest and run.status not in FINAL else None
    newer = state is not None and published is not None and state.step > published.step
    return Resolved(ref, run_id, run.type, blob, state=state.blob if state is not None and newer else None)


def version(connection: Connection, name: str, number: int | None) -> Row[Any]:
    """The row of a version; of the newest for None. Raises NotFound."""
    query = select(model_versions).where(model_versions.c.name == name)
    if number is not None:
        query = query.where(model_versions.c.version == number)
    row = connection.execute(query.order_by(model_versions.c.version.desc()).limit(1)).one_or_none()
    if row is None:
        raise _absent(connection, "model", name if number is None else f"{name}:{number}", name)
    return row


def _pointed(connection: Connection, ref: str) -> Row[Any]:
    name, at, alias = ref.partition("@")
    if at:
        last = aliases.last(connection, name, alias)
        if last is None or last.version is None:
            raise _absent(connection, "model", ref, name)
        return version(connection, name, last.version)
    name, colon, number = ref.partition(":")
    if colon and not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise NotFound(f"no model {ref}", hint="A version is a number, as in name:3.")
    return version(connection, name, int(number) if colon else None)


def _weightless(run: Row[*tuple[Any, ...]]) -> Conflict:
    """Why a run has no weights, and what to wait for."""
    if run.type == "evaluate":
        return Conflict(f"{run.id} is an evaluation: it has no weights of its own", hint="Name the model it evaluated.")
    if run.type == "external":
        return Conflict(f"{run.id} is external: it has no weights here", hint="Its program has them.")
    if run.status in FINAL:
        hint = f"GET /v1/runs/{run.id} tells why."
        return Conflict(f"{run.id} {_ENDED[run.status]} before it had weights", hint=hint)
    hint = _WAIT_FOR_EPOCH if (run.status, run.type) == ("running", "train") else _WAIT[run.status]
    return Conflict(f"{run.id} has no weights yet: it is {run.status}", hint=hint.format(run.job_id))


def _absent(connection: Connection, what: str, ref: str, name: str) -> NotFound:
    known = select(model_versions.c.key).where(model_versions.c.name == name).limit(1)
    meant = None if connection.execute(known).one_or_none() else _meant(connection, name)
    return ids.absent(what, ref) if meant is None else NotFound(f"no {what} {ref}", hint=meant)


def _meant(connection: Connection, name: str) -> str | None:
    """The newest run that is called so, or is of the job that is."""
    mine = select(runs.c.id).order_by(runs.c.key.desc()).limit(1)
    named = mine.where(runs.c.name == name, runs.c.type != "evaluate", runs.c.job_id.is_not(None))
    run = connection.execute(named).scalar_one_or_none()
    if run is not None:
        return f"A run is called so: say {run}, the newest of that name."
    column = jobs.c.id if name.startswith("job_") else jobs.c.name
    newest = select(jobs.c.id, jobs.c.type).where(column == name).order_by(jobs.c.key.desc()).limit(1)
    job = connection.execute(newest).one_or_none()
    if job is None:
        return None
    if job.type == SEARCH:
        return f"That is a search: GET /v1/jobs/{job.id}/trials tells its runs: say one."
    run = connection.execute(mine.where(runs.c.job_id == job.id)).scalar_one()
    return f"That is a job: say {run}, its run."
