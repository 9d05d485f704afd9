"""External runs: another program trains them, says how it goes, and says when it is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from service.errors import Conflict, Fault, InvalidSpec
from service.storage import events, ids, params, series, tags
from service.storage.rows import FINAL, Status
from service.storage.status import move
from service.storage.tables import runs

_RUN = select(runs).where(runs.c.id == bindparam("run_id"))


@dataclass(frozen=True, slots=True)
class Said:
    """What may be said of a run at any time, together or alone. What is not given stays."""

    series: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # as of `Metrics.append`
    params: Mapping[str, str] = field(default_factory=dict)  # added to the spec; one that is there may not change
    tags: Mapping[str, str] = field(default_factory=dict)  # by key
    without_tags: Collection[str] = ()  # keys
    name: str | None = None
    notes: str | None = None


def log(connection: Connection, run_id: str, said: Said) -> None:
    """All or nothing. Raises NotFound, Conflict for metrics and parameters of a run that is not a running external one,
    InvalidSpec for a parameter that has another value."""
    row = _row(connection, run_id)
    if said.series or said.params:
        check_open(row.type, row.status)
    values: dict[str, Any] = {"revision": runs.c.revision + 1}
    values |= {name: value for name, value in (("name", said.name), ("notes", said.notes)) if value is not None}
    if said.params:
        values["spec"] = row.spec | _new_params(row, said.params)
    if said.tags or said.without_tags:
        values["tags"] = tags.changed(row.tags, said.tags, said.without_tags)
        tags.write(connection, row.key, values["tags"])
    connection.execute(update(runs).where(runs.c.key == row.key).values(values))
    series.append(connection, row.key, said.series)
    if said.params:
        params.again(connection, row.key, values["spec"])


def check_open(kind: str, status: str) -> None:
    """Raises Conflict unless it is a running external run."""
    if kind != "external" or status != "running":
        raise Conflict(
            f"a {status} {kind} run takes no more metrics or parameters", hint="Only running external runs do."
        )


def end(
    connection: Connection, run_id: str, status: Status, error: Mapping[str, Any] | None, ended_at: int | None
) -> None:
    """Raises NotFound, Conflict when it has ended or is a worker's."""
    if _row(connection, run_id).type != "external":
        raise Conflict("only an external run is ended from outside", hint="Cancel the job instead.")
    given: dict[str, Any] = {"error": None if error is None else dict(error), "ended_at": ended_at}
    move(connection, run_id, status, **{name: value for name, value in given.items() if value is not None})


def reopen(connection: Connection, run_id: str) -> None:
    """An ended external run takes metrics again, as its program may go on; a running one stays so."""
    row = _row(connection, run_id)
    if row.type != "external":
        raise Conflict("only an external run is opened again", hint="Fork the job instead.")
    if row.status in FINAL:
        again = {"status": "running", "ended_at": None, "error": None, "revision": runs.c.revision + 1}
        connection.execute(update(runs).where(runs.c.key == row.key).values(again))
        events.record(connection, run_id, None, "started", {})


def remove(connection: Connection, run_id: str) -> None:
    """Forgets an ended external run. Raises NotFound, Conflict when it is a job's, or still open."""
    row = _row(connection, run_id)
    if row.type != "external":
        raise Conflict("the run belongs to a job", hint="Delete the job.")
    if row.status not in FINAL:
        raise Conflict(f"a {row.status} run cannot be deleted", hint="End it first.")
    try:
        connection.execute(delete(runs).where(runs.c.key == row.key))
    except IntegrityError as error:
        raise Conflict("a model version points at this run", hint="Keep the run, or delete the model.") from error


def _row(connection: Connection, run_id: str) -> Row[Any]:
    row = connection.execute(_RUN, {"run_id": run_id}).one_or_none()
    if row is None:
        raise ids.absent("run", run_id)
    return row


def _new_params(row: Row[Any], given: Mapping[str, str]) -> dict[str, str]:
    known = params.params(row.spec)
    faults = [
        Fault(
            f"/params/{name}",
            "already_set",
            f"{name[:80]!r} is {known[name][:80]!r} already",
            "A parameter is set once.",
        )
        for name, value in given.items()
        if known.get(name, value) != value
    ]
    if faults:
        raise InvalidSpec(faults[0].message, faults=faults)
    return {name: value for name, value in given.items() if name not in known}
