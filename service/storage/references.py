"""What points at a file, a data set or a run: it cannot be deleted before those who refer to it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Text, cast, literal, or_, select, union, union_all

from service.storage.rows import FINAL
from service.storage.tables import checkpoints, datasets, jobs, model_versions, runs

_CHECKPOINTED = runs.c.key == checkpoints.c.run_key
_POINTERS = (checkpoints.c.blob, runs.c.model_blob, datasets.c.blob, model_versions.c.blob)


def without(connection: Connection, blobs: Sequence[str]) -> tuple[str, ...]:
    """Those of these blobs that no row points at."""
    pointed = union(*(select(column).where(column.in_(blobs)) for column in _POINTERS))
    used = set(connection.execute(pointed).scalars())
    return tuple(blob for blob in dict.fromkeys(blobs) if blob not in used)


def every(connection: Connection) -> set[str]:
    """Every blob that a row points at."""
    return set(connection.execute(union(*(select(column) for column in _POINTERS))).scalars()) - {None}


def pointers(connection: Connection) -> dict[str, str]:
    """Every blob that a row points at, and what that row is, in words."""
    of_run = select(checkpoints.c.blob, literal("a checkpoint of ") + runs.c.id).join(runs, _CHECKPOINTED)
    rows = union_all(
        of_run,
        select(runs.c.model_blob, literal("the model of ") + runs.c.id).where(runs.c.model_blob.is_not(None)),
        select(datasets.c.blob, literal("data set ") + datasets.c.id),
        select(model_versions.c.blob, literal("model ") + model_versions.c.name),
    )
    return {row[0]: row[1] for row in connection.execute(rows)}


def to_dataset(connection: Connection, dataset_id: str) -> list[str]:
    """The jobs, and the runs without one, that use the data set, be it for validation or test alone."""
    using = or_(jobs.c.dataset_id == dataset_id, _mentions(dataset_id))
    outside = select(runs.c.id).where(runs.c.dataset_id == dataset_id, runs.c.job_id.is_(None))
    return [*connection.execute(select(jobs.c.id).where(using)).scalars(), *connection.execute(outside).scalars()]


def to_job(connection: Connection, job_id: str) -> list[str]:
    """The model versions at the job's runs, and the jobs not ended that begin from them or compare with them."""
    mine = list(connection.execute(select(runs.c.id).where(runs.c.job_id == job_id)).scalars())
    versions = select(model_versions.c.name, model_versions.c.version).where(model_versions.c.run_id.in_(mine))
    found = [f"{row.name}:{row.version}" for row in connection.execute(versions)]
    for run_id in mine:
        waiting = select(jobs.c.id).where(jobs.c.status.not_in(FINAL), jobs.c.id != job_id, _mentions(run_id))
        found += connection.execute(waiting).scalars()
    return found


def words(found: Sequence[str], most: int = 5) -> str:
    """The first ones by name, and how many more."""
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def _mentions(identity: str) -> ColumnElement[bool]:
    return cast(jobs.c.spec, Text).contains(f'"{identity}"', autoescape=True)
