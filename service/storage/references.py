"""Which files something points at."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, union

from service.storage.tables import checkpoints, datasets, model_versions, runs

_POINTERS = (checkpoints.c.blob, runs.c.model_blob, datasets.c.blob, model_versions.c.blob)


def without(connection: Connection, blobs: Sequence[str]) -> tuple[str, ...]:
    """Those of these blobs that no row points at."""
    pointed = union(*(select(column).where(column.in_(blobs)) for column in _POINTERS))
    used = set(connection.execute(pointed).scalars())
    return tuple(blob for blob in dict.fromkeys(blobs) if blob not in used)


def every(connection: Connection) -> set[str]:
    """Every blob that a row points at."""
    return set(connection.execute(union(*(select(column) for column in _POINTERS))).scalars()) - {None}
