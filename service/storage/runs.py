"""Runs: claimed and reported on by workers, found and compared by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from service.storage import (
    attempts,
    checkpoints,
    events,
    external,
    idempotency,
    ids,
    jobs,
    moment,
    references,
    run_list,
    run_view,
)
from service.storage import tags as run_tag
from service.storage.bound import bound
from service.storage.conditions import Conditions
from service.storage.database import Database, Prepared
from service.storage.external import Said
from service.storage.filter import parse
from service.storage.rows import (
    Attempt,
    Checkpoint,
    Idempotency,
    Live,
    Orders,
    Owner,
    Page,
    Report,
    Run,
    Status,
    StoppedBy,
)
from service.storage.tables import attempts as lives
from service.storage.tables import runs, series

_ANY = 1 << 62
_REVISION = Prepared(select(runs.c.revision).where(runs.c.id == bindparam("run_id")))
_COUNTS = select(runs.c.status, func.count()).group_by(runs.c.status)
_SPEED_OF_ONE = (
    select(series.c.last).where(series.c.run_key == runs.c.key, series.c.name == "rows_per_s").scalar_subquery()
)  # looked up run by run: few are running, and many have been
_SPEED = select(func.coalesce(func.sum(_SPEED_OF_ONE), 0.0)).where(
    runs.c.status == "running", runs.c.type != "external"
)
_BUSY = select(func.count()).select_from(lives).where(lives.c.ended_at.is_(None))


class Runs:
    """The verbs on runs; each is one transaction. Those that take an Attempt raise Fenced when it is over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What the supervisor and the workers do

    def claim(self, owner: Owner, lease_s: float, *, cpus: int = _ANY, memory_bytes: int = _ANY) -> Attempt | None:
        """Takes the first waiting run that needs no more than this, with a new token; None when there is none."""
        with self._database.write() as connection:
            return attempts.claim(connection, owner, lease_s, cpus, memory_bytes)

    def attach(self, attempt: Attempt, owner: Owner) -> None:
        """Says which process the attempt lives in, when that is known only after the claim."""
        with self._database.write() as connection:
            attempts.attach(connection, attempt, owner)

    def report(self, attempt: Attempt, report: Report) -> Orders:
        """Metrics, then events, then checkpoints, then the lease: all or nothing."""
        with self._database.write() as connection:
            return attempts.report(connection, attempt, report)

    def renew(self, attempt: Attempt) -> Orders:
        """Only the lease."""
        with self._database.write() as connection:
            return attempts.renew(connection, attempt)

    def finish(
        self, attempt: Attempt, status: Status, *, stopped_by: StoppedBy | None = None,
        error: Mapping[str, Any] | None = None, model_blob: str | None = None, weights_sha256: str | None = None,
        receipt: Mapping[str, Any] | None = None, report: Mapping[str, Any] | None = None, final: Report | None = None,
    ) -> Run:  # fmt: skip
        """The verdict (succeeded, failed, cancelled or paused) with the last report, in one transaction.

        Without `model_blob` the best model published as a checkpoint stays the run's.
        """
        given = {
            "stopped_by": stopped_by, "error": error, "model_blob": model_blob, "weights_sha256": weights_sha256,
            "receipt": receipt, "report": report,
        }  # fmt: skip
        columns = {name: value for name, value in given.items() if value is not None}
        with self._database.write() as connection:
            attempts.finish(connection, attempt, status, final, columns)
            return run_view.one(connection, attempt.run_id)

    def release(self, attempt: Attempt) -> None:
        """Gives the run back, to the head of the queue and without counting the attempt; or to a stop asked for."""
        with self._database.write() as connection:
            attempts.release(connection, attempt)

    def lose(self, attempt: Attempt, words: str, *, code: str = "worker_lost", max_attempts: int = 3) -> None:
        """The worker is no more: the run goes back to the queue, or to a stop asked for.

        It fails with `code` when `max_attempts` lives in a row were lost like this without a new state checkpoint.
        """
        with self._database.write() as connection:
            attempts.lose(connection, attempt, words, code, max_attempts)

    def live(self) -> tuple[Live, ...]:
        """Every attempt that has not ended, with its owner and what is left of its lease."""
        with self._database.read() as connection:
            return attempts.live(connection)

    # Checkpoints

    def checkpoints(self, run_id: str, kind: str | None = None) -> tuple[Checkpoint, ...]:
        """Those published, newest first."""
        with self._database.read() as connection:
            return checkpoints.several(connection, run_id, kind)

    def retain(self, run_id: str, *, states: int = 3, models: int = 1) -> tuple[str, ...]:
        """Forgets all but the newest states and the best models; returns the blobs that nothing points at any more."""
        with self._database.write() as connection:
            forgotten = checkpoints.retain(connection, run_id, states, models)
            return references.without(connection, forgotten)

    # What people do

    def get(self, run_id: str) -> Run:
        """Raises NotFound."""
        with self._database.read() as connection:
            return run_view.one(connection, run_id)

    def several(self, run_ids: Sequence[str]) -> dict[str, Run]:
        """Runs by id, without their `report`; unknown ones are left out."""
        with self._database.read() as connection:
            keys = connection.execute(select(runs.c.key).where(runs.c.id.in_(run_ids))).scalars().all()
            return {run.id: run for run in run_view.several(connection, keys)}

    def evaluations(self, blob: str) -> tuple[Run, ...]:
        """The evaluations of a model's file that came to their end, oldest first, without their `report`."""
        wanted = (runs.c.type == "evaluate", runs.c.status == "succeeded", runs.c.model_blob == blob)
        with self._database.read() as connection:
            keys = connection.execute(select(runs.c.key).where(*wanted).order_by(runs.c.key)).scalars().all()
            return run_view.several(connection, keys)

    def list(
        self, *, status: str | None = None, type: str | None = None, tag: str | None = None, name: str | None = None,
        dataset_id: str | None = None, job_id: str | None = None, filter: str | None = None,
        metrics: Sequence[str] = (), specs: Sequence[str] = (), experiments: Sequence[str] | None = None,
        not_tag: str | None = None, sort: str = "-created_at", after: str | None = None, limit: int = 20,
    ) -> Page[Run]:  # fmt: skip
        """Runs without their `report`. `sort`: created_at, started_at, ended_at, name, status; best., last., first.,
        min. or max. and a metric; spec. and a field; `-` for descending.

        `best.val_accuracy` means its maximum when descending and its minimum otherwise; runs without the value come
        last. `filter` is MLflow's language (filter.py), `metrics` and `specs` are bounds such as best.loss<0.1 and
        optimizer.kind=adam. Raises InvalidSpec for a filter, a sort key or a cursor that is none.
        """
        wanted = {
            runs.c.status: status, runs.c.type: type, runs.c.name: name, runs.c.dataset_id: dataset_id,
            runs.c.job_id: job_id,
        }  # fmt: skip
        conditions = Conditions([column == value for column, value in wanted.items() if value is not None])
        if tag is not None:
            conditions.tagged(tag)
        if not_tag is not None:
            conditions.not_tagged(not_tag)
        if experiments is not None:
            conditions.in_experiments(experiments)
        conditions.add(parse(filter))
        conditions.add(bound(each, "metric", "/query/metric") for each in metrics)
        conditions.add(bound(each, "param", "/query/spec") for each in specs)
        with self._database.read() as connection:
            return run_list.page(connection, conditions, sort, after, limit)

    def revision(self, run_id: str) -> int:
        """What grows with every change of the run or its metrics. Raises NotFound."""
        with self._database.read() as connection:
            found = _REVISION(connection, {"run_id": run_id})
        if not found:
            raise ids.absent("run", run_id)
        return int(found[0][0])

    def counts(self) -> dict[str, int]:
        """How many runs are in each state; a state that none is in is left out."""
        with self._database.read() as connection:
            return dict(connection.execute(_COUNTS).all())

    def busy_workers(self) -> int:
        """How many workers have a run."""
        with self._database.read() as connection:
            return int(connection.execute(_BUSY).scalar_one())

    def rows_per_s(self) -> float:
        """How fast our workers train together, by what each told last: at the end of an epoch."""
        with self._database.read() as connection:
            return float(connection.execute(_SPEED).scalar_one())

    # External runs: another program trains them

    def create_external(
        self, *, name: str | None = None, tags: Sequence[str] = (), notes: str = "", dataset_id: str | None = None,
        spec: Mapping[str, Any] | None = None, started_at: datetime | None = None,
        idempotency_key: Idempotency | None = None,
    ) -> Run:  # fmt: skip
        """A run that another program trains and logs into; it is running at once. Raises InvalidSpec."""
        with self._database.write() as connection:
            run_id = idempotency.made(connection, "runs", idempotency_key)
            if run_id is not None:
                return _made_before(connection, run_id)
            run_id = ids.new("run")
            jobs.check_dataset(connection, dataset_id, "/dataset_id")
            jobs.insert_run(
                connection, id=run_id, type="external", status="running", name=name, spec=dict(spec or {}),
                tags=list(dict.fromkeys(tags)), notes=notes, dataset_id=dataset_id,
                started_at=moment.now() if started_at is None else moment.pack(started_at),
            )  # fmt: skip
            events.record(connection, run_id, None, "started", {})
            idempotency.keep(connection, "runs", idempotency_key, run_id)
            return run_view.one(connection, run_id)

    def adopt(
        self, *, type: str, name: str | None, spec: Mapping[str, Any], report: Mapping[str, Any],
        receipt: Mapping[str, Any] | None, weights_sha256: str | None, model_blob: str,
        idempotency_key: Idempotency | None = None,
    ) -> Run:  # fmt: skip
        """A run that succeeded elsewhere, with its model's file."""
        with self._database.write() as connection:
            run_id = idempotency.made(connection, "runs", idempotency_key)
            if run_id is not None:
                return _made_before(connection, run_id)
            run_id = ids.new("run")
            jobs.insert_run(
                connection, id=run_id, type=type, status="succeeded", name=name, spec=dict(spec), tags=["imported"],
                report=dict(report), receipt=None if receipt is None else dict(receipt),
                weights_sha256=weights_sha256, model_blob=model_blob, ended_at=moment.now(),
            )  # fmt: skip
            events.record(connection, run_id, None, "imported", {})
            idempotency.keep(connection, "runs", idempotency_key, run_id)
            return run_view.one(connection, run_id)

    def log(self, run_id: str, said: Said) -> None:
        """Metrics and parameters of a running external run; tags, name and notes of any run: all or nothing.

        Raises NotFound, Conflict, and InvalidSpec for a parameter that has another value already.
        """
        with self._database.write() as connection:
            external.log(connection, run_id, said)

    def end_external(
        self, run_id: str, status: Status, error: Mapping[str, Any] | None = None, *, ended_at: datetime | None = None
    ) -> Run:
        """Ends such a run. Raises NotFound, Conflict when it has ended or is a worker's."""
        with self._database.write() as connection:
            external.end(connection, run_id, status, error, None if ended_at is None else moment.pack(ended_at))
            return run_view.one(connection, run_id)

    def reopen_external(self, run_id: str) -> Run:
        """Such a run takes metrics again, as its program may go on. Raises NotFound, Conflict for a worker's."""
        with self._database.write() as connection:
            external.reopen(connection, run_id)
            return run_view.one(connection, run_id)

    def delete_external(self, run_id: str) -> None:
        """Forgets an ended one with its metrics. Raises NotFound, Conflict."""
        with self._database.clean() as connection:
            external.remove(connection, run_id)

    def patch(
        self, run_id: str, *, name: str | None = None, tags: Sequence[str] | None = None, notes: str | None = None
    ) -> Run:
        """Changes what is given. Raises NotFound."""
        given = {"name": name, "tags": None if tags is None else list(dict.fromkeys(tags)), "notes": notes}
        values = {column: value for column, value in given.items() if value is not None}
        with self._database.write() as connection:
            changed = update(runs).where(runs.c.id == run_id).values(revision=runs.c.revision + 1, **values)
            key = connection.execute(changed.returning(runs.c.key)).scalar_one_or_none()
            if key is None:
                raise ids.absent("run", run_id)
            if tags is not None:
                run_tag.write(connection, key, values["tags"])
            return run_view.one(connection, run_id)


def _made_before(connection: Connection, run_id: str) -> Run:
    with idempotency.looked_up("run"):
        return run_view.one(connection, run_id)
