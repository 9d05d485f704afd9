"""Jobs: what was submitted, its place in the queue, and what people may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Select, delete, exists, func, insert, select, update

from service.errors import Conflict, Fault, InvalidSpec, QueueFull
from service.storage import (
    cursor,
    events,
    idempotency,
    ids,
    job_view,
    moment,
    params,
    references,
    status,
    tags,
    webhooks,
)
from service.storage.database import Database
from service.storage.rows import FINAL, Idempotency, Job, Page, Status
from service.storage.tables import datasets, job_tags, jobs, runs, transitions
from service.storage.trials import Trial

# Statements made once: making one costs more than running it.
_other = runs.alias("other")
NEXT_PLACE = select(func.coalesce(func.max(_other.c.place), 0) + 1).scalar_subquery()
_NEW_JOB = insert(jobs).returning(jobs.c.key)
_NEW_RUN = insert(runs).values(place=NEXT_PLACE).returning(runs.c.key)
_WAITING = select(func.count()).where(runs.c.status == "queued")


class Jobs:
    """The verbs on jobs; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(
        self, *, type: str, spec: Mapping[str, Any], name: str | None = None, tags: Sequence[str] = (),
        dataset_id: str | None = None, priority: int = 0, max_queue: int = 1000, cpus: int = 1, memory_bytes: int = 0,
        model_blob: str | None = None, webhook: Mapping[str, Any] | None = None, trials: Sequence[Trial] = (),
        warnings: Sequence[str] = (), idempotency_key: Idempotency | None = None,
    ) -> Job:  # fmt: skip
        """A job, its run and the event `queued`; or, for a key seen before, the job it made then.

        `trials`: the job is a search, and has a run of type train for each.
        `model_blob`: the file of the model that the job works with; it stays as long as the run does. `webhook`: {url,
        secret} of who is to be told of its end.
        Raises QueueFull, NotFound when the data set is gone, InvalidSpec when the key came with another request.
        """
        common = {"type": type, "name": name, "tags": _unique(tags), "dataset_id": dataset_id, "spec": dict(spec)}
        with self._database.write() as connection:
            before = idempotency.made(connection, "jobs", idempotency_key)
            if before is not None:
                return _made_before(connection, before)
            _check(connection, dataset_id, max_queue, len(trials) or 1)
            job_id = ids.new("job")
            _insert_job(connection, id=job_id, priority=priority, warnings=list(warnings), **common)
            of_run = common | {"job_id": job_id, "status": "queued", "urgency": -priority, "cpus": cpus}
            of_run |= {} if model_blob is None else {"model_blob": model_blob}
            for told in _told(type, name, trials) or [{"memory_bytes": memory_bytes}]:
                run_id = ids.new("run")
                insert_run(connection, **(of_run | told), id=run_id)
                events.record(connection, run_id, job_id, "queued", {})
            webhooks.keep(connection, job_id, webhook)
            idempotency.keep(connection, "jobs", idempotency_key, job_id)
            return job_view.one(connection, job_id)

    def made(self, idempotency_key: Idempotency | None) -> Job | None:
        """The job that a submit with this key made; None for a new key. Raises as `submit` for a key seen before."""
        with self._database.read() as connection:
            before = idempotency.made(connection, "jobs", idempotency_key)
            return None if before is None else _made_before(connection, before)

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        with self._database.read() as connection:
            return job_view.one(connection, job_id)

    def list(
        self, *, status: str | None = None, type: str | None = None, tag: str | None = None, name: str | None = None,
        after: str | None = None, limit: int = 20,
    ) -> Page[Job]:  # fmt: skip
        """Newest first. Raises InvalidSpec for a cursor that is none."""
        wanted = {jobs.c.status: status, jobs.c.type: type, jobs.c.name: name}
        query: Select[Any] = select(jobs).where(
            *(column == value for column, value in wanted.items() if value is not None)
        )
        if tag is not None:
            query = query.where(exists().where(job_tags.c.tag == tag, job_tags.c.job_key == jobs.c.key))
        if after is not None:
            query = query.where(jobs.c.key < cursor.decode(after, int)[0])
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(jobs.c.key.desc()).limit(limit + 1)).all()
            found = job_view.several(connection, rows[:limit])
        return Page(found, cursor.encode(rows[limit - 1].key) if len(rows) > limit else None)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state that is not final; a state that none is in is left out."""
        open_ = tuple(each for each in get_args(Status) if each not in FINAL)
        query = select(jobs.c.status, func.count()).where(jobs.c.status.in_(open_)).group_by(jobs.c.status)
        with self._database.read() as connection:
            return dict(connection.execute(query).all())

    def request_stop(self, job_id: str, how: Literal["cancel", "pause"]) -> Job:
        """Asks for it; a job that waits is stopped at once. Asking again, or when it is already so, changes nothing.

        Raises NotFound, Conflict when the job has ended otherwise.
        """
        target: Literal["cancelled", "paused"] = "cancelled" if how == "cancel" else "paused"
        opened = self._database.clean if how == "cancel" else self._database.write  # what is cancelled can be deleted
        with opened() as connection:
            job = job_view.one(connection, job_id)
            if job.status == target or job.stop_requested == "cancel":
                return job
            found = _runs_of(connection, job_id)
            running = [run.id for run in found if run.status == "running"]
            waiting = [run.id for run in found if run.status in status.sources(target) and run.id not in running]
            if not (running or waiting):
                raise Conflict(f"a {job.status} job cannot become {target}")
            for run_id in waiting:
                status.move(connection, run_id, target)
            for run_id in running:
                connection.execute(update(runs).where(runs.c.id == run_id).values(stop_requested=how))
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(stop_requested=how))
                events.record(connection, run_id, job_id, "stop_requested", {"how": how})
            return job_view.one(connection, job_id)

    def resume(self, job_id: str) -> Job:
        """Puts a paused job back at its place in the queue. Raises NotFound, Conflict when it is not paused."""
        with self._database.write() as connection:
            job = job_view.one(connection, job_id)
            if job.status != "paused":
                raise Conflict(f"a {job.status} job cannot be resumed", hint="Only a paused one can.")
            for run in _runs_of(connection, job_id):
                if run.status == "paused":
                    status.move(connection, run.id, "queued")
            return job_view.one(connection, job_id)

    def delete(self, job_id: str) -> None:
        """Forgets an ended job with its runs, metrics and events; files are left to `Store.collect`.

        Raises NotFound, Conflict when it has not ended or names the versions and waiting jobs that use its run.
        """
        with self._database.clean() as connection:
            state = connection.execute(select(jobs.c.status).where(jobs.c.id == job_id)).scalar_one_or_none()
            if state is None:
                raise ids.absent("job", job_id)
            if state not in FINAL:
                raise Conflict(f"a {state} job cannot be deleted", hint="Cancel it first.")
            users = references.to_job(connection, job_id)
            if users:
                hint = "Keep the job, or delete those first."
                raise Conflict(f"the job's run is used by {references.words(users)}", hint=hint)
            connection.execute(delete(jobs).where(jobs.c.id == job_id))


def _made_before(connection: Connection, job_id: str) -> Job:
    with idempotency.looked_up("job"):
        return job_view.one(connection, job_id)


def _check(connection: Connection, dataset_id: str | None, max_queue: int, runs: int) -> None:
    waiting = connection.execute(_WAITING).scalar_one()
    if waiting + runs > max_queue:
        raise QueueFull(f"{waiting} runs are waiting already")
    check_dataset(connection, dataset_id, "/spec/dataset/id")


def check_dataset(connection: Connection, dataset_id: str | None, pointer: str) -> None:
    """Raises InvalidSpec when it is named and not there."""
    if dataset_id is not None:
        known = connection.execute(select(exists().where(datasets.c.id == dataset_id))).scalar_one()
        if not known:
            message = f"no data set {dataset_id}"
            raise InvalidSpec(message, faults=[Fault(pointer, "not_found", message)])


def _insert_job(connection: Connection, **columns: Any) -> None:
    at = moment.now()
    start = {"status": "queued", "phase": "waiting", "attempt": 0, "progress": 0.0, "created_at": at}
    key = connection.execute(_NEW_JOB, start | columns).scalar_one()
    if columns["tags"]:
        connection.execute(insert(job_tags), [{"tag": tag, "job_key": key} for tag in columns["tags"]])
    connection.execute(insert(transitions), {"job_key": key, "status": "queued", "at": at})


def insert_run(connection: Connection, **columns: Any) -> None:
    """A run with its tags; what is not given is as at the start of any run."""
    start: dict[str, Any] = {
        "urgency": 0, "token": 0, "attempt": 0, "losses": 0, "cpus": 1, "memory_bytes": 0, "revision": 0, "step": 0,
        "notes": "", "report": {}, "created_at": moment.now(),
    }  # fmt: skip
    key = connection.execute(_NEW_RUN, start | columns).scalar_one()
    tags.add(connection, key, columns["tags"])
    params.index(connection, key, columns["spec"])


def _runs_of(connection: Connection, job_id: str) -> Sequence[Any]:
    query = select(runs.c.id, runs.c.status).where(runs.c.job_id == job_id).order_by(runs.c.key)
    return connection.execute(query).all()


def _told(type: str, name: str | None, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """What the runs of a search have for themselves."""
    return [
        {
            "type": "train", "name": f"{name or type} {at}/{len(trials)}", "spec": dict(trial.spec),
            "memory_bytes": trial.memory_bytes,
        }
        for at, trial in enumerate(trials, 1)
    ]  # fmt: skip


def _unique(tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tags))
