"""The published states of a run, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from service.storage import moment
from service.storage.rows import Checkpoint
from service.storage.tables import checkpoints, runs


def add(connection: Connection, run_key: int, token: int, given: Sequence[Checkpoint]) -> None:
    """Publishes them; the files must be in the blob store already."""
    if not given:
        return
    at = moment.now()
    connection.execute(
        insert(checkpoints),
        [
            {
                "run_key": run_key, "kind": each.kind, "step": each.step, "blob": each.blob, "bytes": each.bytes,
                "weights_sha256": each.weights_sha256, "token": token, "created_at": at,
            }
            for each in given
        ],
    )  # fmt: skip


def newest(connection: Connection, run_key: int, kind: str) -> Row[Any] | None:
    """The last one published of its kind."""
    query = select(checkpoints).where(checkpoints.c.run_key == run_key, checkpoints.c.kind == kind)
    return connection.execute(
        query.order_by(checkpoints.c.step.desc(), checkpoints.c.key.desc()).limit(1)
    ).one_or_none()


def several(connection: Connection, run_id: str, kind: str | None) -> tuple[Checkpoint, ...]:
    """Newest first."""
    query = select(checkpoints).join(runs, runs.c.key == checkpoints.c.run_key).where(runs.c.id == run_id)
    if kind is not None:
        query = query.where(checkpoints.c.kind == kind)
    rows = connection.execute(query.order_by(checkpoints.c.step.desc(), checkpoints.c.key.desc()))
    return tuple(_checkpoint(run_id, row) for row in rows)


def retain(connection: Connection, run_id: str, states: int, models: int) -> list[str]:
    """Forgets all but the newest of each kind (the newest model is the best one); returns the blobs forgotten."""
    run_key = connection.execute(select(runs.c.key).where(runs.c.id == run_id)).scalar_one_or_none()
    blobs: list[str] = []
    for kind, keep in (("state", states), ("model", models)):
        mine = select(checkpoints.c.key).where(checkpoints.c.run_key == run_key, checkpoints.c.kind == kind)
        old = mine.order_by(checkpoints.c.step.desc(), checkpoints.c.key.desc()).offset(keep).limit(1_000_000)
        blobs += connection.execute(
            delete(checkpoints).where(checkpoints.c.key.in_(old)).returning(checkpoints.c.blob)
        ).scalars()
    return blobs


def _checkpoint(run_id: str, row: Row[Any]) -> Checkpoint:
    return Checkpoint(
        run_id, row.step, row.kind, row.blob, row.bytes, row.weights_sha256, row.token, moment.unpack(row.created_at)
    )
