"""Run rows as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from service.storage import ids, metrics, moment
from service.storage.rows import Run
from service.storage.tables import runs

_ONE = select(runs).where(runs.c.id == bindparam("run_id"))
_SHORT = select(*(column for column in runs.c if column is not runs.c.report))
_SEVERAL = _SHORT.where(runs.c.key.in_(bindparam("keys", expanding=True)))


def one(connection: Connection, run_id: str) -> Run:
    """Raises NotFound."""
    row = connection.execute(_ONE, {"run_id": run_id}).one_or_none()
    if row is None:
        raise ids.absent("run", run_id)
    return _run(row, metrics.summaries(connection, [row.key]).get(row.key, {}), row.report)


def several(connection: Connection, keys: Sequence[int]) -> tuple[Run, ...]:
    """The runs with these keys, in their order, without their reports."""
    summaries = metrics.summaries(connection, keys)
    rows = {row.key: row for row in connection.execute(_SEVERAL, {"keys": list(keys)})}
    return tuple(_run(rows[key], summaries.get(key, {}), {}) for key in keys)


def _run(row: Row[Any], summary: dict[str, dict[str, Any]], report: dict[str, Any]) -> Run:
    return Run(
        id=row.id, job_id=row.job_id, type=row.type, name=row.name, tags=tuple(row.tags), notes=row.notes,
        status=row.status, spec=row.spec, dataset_id=row.dataset_id, step=row.step, summary=summary,
        weights_sha256=row.weights_sha256, model_blob=row.model_blob, receipt=row.receipt, report=report,
        error=row.error, created_at=moment.unpack(row.created_at), started_at=moment.unpack(row.started_at),
        ended_at=moment.unpack(row.ended_at), revision=row.revision,
    )  # fmt: skip
