"""Metrics: one series per run and name, a point per step; writing a step again replaces its point."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, insert, select, update

from service.errors import Conflict, NotFound
from service.storage import moment
from service.storage.database import Database
from service.storage.rows import Series
from service.storage.tables import runs, series

Reduce = Literal["minmax", "last", "mean", "lttb"]
_POINT = np.dtype([("step", "<i8"), ("time", "<i8"), ("value", "<f8")])


class Metrics:
    """The verbs on metrics; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, run_id: str, given: Mapping[str, tuple[Any, ...]]) -> None:
        """Points of an external run. Raises NotFound, Conflict when the run is a worker's or has ended."""
        with self._database.write() as connection:
            row = connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .values(revision=runs.c.revision + 1)
                .returning(runs.c.key, runs.c.type, runs.c.status)
            ).one_or_none()
            if row is None:
                raise NotFound(f"no run {run_id}")
            if row.type != "external" or row.status != "running":
                raise Conflict(f"a {row.status} {row.type} run takes no metrics", hint="Only running external runs do.")
            append(connection, row.key, given)

    def summary(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """By run and metric: n, nonfinite, first, last, min, max, best with their steps, and the mean."""
        with self._database.read() as connection:
            keys = dict(connection.execute(select(runs.c.key, runs.c.id).where(runs.c.id.in_(run_ids))).tuples().all())
            found = summaries(connection, list(keys))
        return {run_id: found.get(key, {}) for key, run_id in keys.items()}

    def series(
        self, run_id: str, names: Sequence[str] | None = None, *, from_step: int | None = None,
        to_step: int | None = None, max_points: int | None = None, reduce: Reduce = "minmax",
    ) -> dict[str, Series]:  # fmt: skip
        """Points by name, steps ascending, both ends of the range included; unknown names are left out."""
        with self._database.read() as connection:
            query = select(series).join(runs, runs.c.key == series.c.run_key).where(runs.c.id == run_id)
            if names is not None:
                query = query.where(series.c.name.in_(names))
            rows = connection.execute(query.order_by(series.c.name)).all()
        return {row.name: _series(row, from_step, to_step) for row in rows}


def append(connection: Connection, run_key: int, given: Mapping[str, tuple[Any, ...]]) -> None:
    """Writes points in the caller's transaction, which holds the run's row."""
    for name, columns in given.items():
        new = _points(columns)
        if not len(new):
            continue
        where = (series.c.run_key == run_key, series.c.name == name)
        row = connection.execute(select(series).where(*where)).one_or_none()
        if row is None:
            connection.execute(insert(series).values(run_key=run_key, name=name, **_summed(_merged(new[:0], new))))
        else:
            old = np.frombuffer(row.tail, _POINT)
            connection.execute(update(series).where(*where).values(**_summed(_merged(old, new))))


def summaries(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, dict[str, Any]]]:
    """By run key and metric."""
    found: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    columns = [column for column in series.c if column is not series.c.tail]
    for row in connection.execute(select(*columns).where(series.c.run_key.in_(keys)).order_by(series.c.name)):
        found[row.run_key][row.name] = _summary(row)
    return found


_BIGGER = re.compile(r"accuracy|(^|_)(acc|f1|auc|r2|precision|recall|score|reward|bleu|iou|map)(_|$)")
_SMALLER = re.compile(r"loss|error|perplexity|(^|_)(mse|mae|rmse|mape|wer|cer|nll)(_|$)")


def direction(name: str) -> Literal["min", "max"] | None:
    """Which end of a metric is its best, by its name; None when the name does not tell."""
    if _SMALLER.search(name):
        return "min"
    return "max" if _BIGGER.search(name) else None


def _summary(row: Row[Any]) -> dict[str, Any]:
    end = direction(row.name)
    best = {"value": getattr(row, end), "step": getattr(row, f"{end}_step")} if end else None
    return {
        "n": row.n, "nonfinite": row.nonfinite,
        "first": {"value": row.first, "step": row.first_step}, "last": {"value": row.last, "step": row.last_step},
        "min": {"value": row.min, "step": row.min_step}, "max": {"value": row.max, "step": row.max_step},
        "mean": row.sum / (row.n - row.nonfinite) if row.n > row.nonfinite else None,
        "best": best, "direction": end,
    }  # fmt: skip


def _points(columns: tuple[Any, ...]) -> NDArray[Any]:
    points = np.empty(len(columns[0]), _POINT)
    points["step"], points["value"] = columns[0], columns[1]
    points["time"] = columns[2] if len(columns) > 2 else moment.now() // 1000
    return points


def _merged(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Both, by step; the later writing wins."""
    both = np.concatenate([new[::-1], old])
    return both[np.unique(both["step"], return_index=True)[1]]


def _summed(points: NDArray[Any]) -> dict[str, Any]:
    values, steps = points["value"], points["step"]
    finite = np.isfinite(values)
    known = values[finite]
    ends: dict[str, Any] = {"min": None, "max": None, "min_step": None, "max_step": None}
    if len(known):
        low, high = int(known.argmin()), int(known.argmax())
        ends = {
            "min": float(known[low]), "max": float(known[high]),
            "min_step": int(steps[finite][low]), "max_step": int(steps[finite][high]),
        }  # fmt: skip
    return ends | {
        "n": len(points), "nonfinite": int(len(points) - len(known)), "sum": float(known.sum()),
        "first_step": int(steps[0]), "last_step": int(steps[-1]), "first": float(values[0]), "last": float(values[-1]),
        "tail_n": len(points), "tail": points.tobytes(),
    }  # fmt: skip


def _series(row: Row[Any], from_step: int | None, to_step: int | None) -> Series:
    points = np.frombuffer(row.tail, _POINT)
    low = 0 if from_step is None else int(np.searchsorted(points["step"], from_step))
    high = len(points) if to_step is None else int(np.searchsorted(points["step"], to_step, "right"))
    points = points[low:high]
    return Series(row.name, points["step"].copy(), points["value"].copy(), points["time"].copy(), len(points), None)
