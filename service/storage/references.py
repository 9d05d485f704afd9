"""What points at a file, a data set or a run: it cannot be deleted before those who refer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, or_, select, union

from service.storage.rows import FINAL
from service.storage.status import MOVES
from service.storage.tables import checkpoints, datasets, jobs, model_versions, runs

_CHECKPOINTED = runs.c.key == checkpoints.c.run_key
_UNENDED = tuple(status for status in MOVES if status not in FINAL)
_TO_TRAIN = and_(runs.c.status.in_(_UNENDED), runs.c.type == "train")
_TAKEN_UP = runs.c.spec[("go_on_from", "blob")].as_string()
_BEGUN_WITH = func.replace(runs.c.spec[("network", "initial_weights")].as_string(), "sha256:", "")
_POINTERS: Mapping[str, tuple[ColumnElement[Any], Select[Any]]] = {
    "a checkpoint of ": (checkpoints.c.blob, select(runs.c.id).join(checkpoints, _CHECKPOINTED)),
    "the model of ": (runs.c.model_blob, select(runs.c.id)),
    "data set ": (datasets.c.blob, select(datasets.c.id)),
    "model ": (model_versions.c.blob, select(model_versions.c.name)),
    "the state to go on from of ": (_TAKEN_UP, select(runs.c.id).where(_TO_TRAIN)),
    "the weights to begin with of ": (_BEGUN_WITH, select(runs.c.id).where(_TO_TRAIN)),
}


def without(connection: Connection, blobs: Sequence[str]) -> tuple[str, ...]:
    """Those of these blobs that no row points at."""
    if not blobs:
        return ()
    queries = (query.with_only_columns(blob).where(blob.in_(blobs)) for blob, query in _POINTERS.values())
    used = set(connection.execute(union(*queries)).scalars())
    return tuple(blob for blob in dict.fromkeys(blobs) if blob not in used)


def every(connection: Connection) -> set[str]:
    """Every blob that a row points at."""
    return set(pointers(connection))


def pointers(connection: Connection) -> dict[str, str]:
    """Every blob that a row points at, and what that row is, in words."""
    queries = (query.add_columns(blob).where(blob.is_not(None)) for blob, query in _POINTERS.values())
    return {
        blob: words + name
        for words, query in zip(_POINTERS, queries, strict=True)
        for name, blob in connection.execute(query)
    }


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
