"""Metrics: one series per run and name, a point per step; writing a step again replaces its point."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select, update

from service.errors import Conflict, NotFound
from service.storage import summary
from service.storage.curve import Ask, read
from service.storage.database import Database, Prepared
from service.storage.reduce import Reduce
from service.storage.rows import Series
from service.storage.series import append
from service.storage.summary import Summary
from service.storage.tables import runs, series

_BIGGER = re.compile(r"accuracy|(^|_)(acc|f1|auc|r2|precision|recall|score|reward|bleu|iou|map)(_|$)")
_SMALLER = re.compile(r"loss|error|perplexity|bits_per|(^|_)(mse|mae|rmse|mape|wer|cer|nll)(_|$)")
# Statements made once: making one costs more than running it.
_CHANGED = Prepared(
    update(runs)
    .where(runs.c.id == bindparam("run_id"))
    .values(revision=runs.c.revision + 1)
    .returning(runs.c.key, runs.c.type, runs.c.status)
)
_KEYS = select(runs.c.key, runs.c.id).where(runs.c.id.in_(bindparam("run_ids", expanding=True)))
_ALL = select(series).where(series.c.run_key.in_(bindparam("keys", expanding=True))).order_by(series.c.name)
_NAMED = _ALL.where(series.c.name.in_(bindparam("names", expanding=True)))
_SUMMARIES = _ALL.with_only_columns(series.c.run_key, series.c.name, *(series.c[name] for name in summary.NAMES))


class Metrics:
    """The verbs on metrics; each is one transaction. Workers write theirs through `Runs.report`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, run_id: str, given: Mapping[str, tuple[Any, ...]]) -> None:
        """Points of an external run by name: (steps, values) or (steps, values, times in ms).

        Raises NotFound, Conflict when the run is a worker's or has ended.
        """
        with self._database.write() as connection:
            changed = _CHANGED(connection, {"run_id": run_id})
            if not changed:
                raise NotFound(f"no run {run_id}")
            ((key, kind, status),) = changed
            if kind != "external" or status != "running":
                raise Conflict(f"a {status} {kind} run takes no metrics", hint="Only running external runs do.")
            append(connection, key, given)

    def summary(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """By run and metric: n, nonfinite, first, last, min, max, best with their steps, and the mean."""
        with self._database.read() as connection:
            keys = _keys(connection, run_ids)
            found = summaries(connection, list(keys))
        return {run_id: found.get(key, {}) for key, run_id in keys.items()}

    def series(
        self,
        run_id: str,
        names: Sequence[str] | None = None,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        max_points: int | None = None,
        reduce: Reduce = "minmax",
    ) -> dict[str, Series]:
        """Points by name, steps ascending, both ends of the range included; names the run does not have are left out.

        With more points than `max_points` (5 or more) they are reduced. Raises NotFound.
        """
        found = self.query([run_id], names, from_step=from_step, to_step=to_step, max_points=max_points, reduce=reduce)
        if run_id not in found:
            raise NotFound(f"no run {run_id}")
        return found[run_id]

    def query(
        self,
        run_ids: Sequence[str],
        names: Sequence[str] | None = None,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        max_points: int | None = None,
        reduce: Reduce = "minmax",
    ) -> dict[str, dict[str, Series]]:
        """The same of many runs at one moment, by run; runs that do not exist are left out."""
        ends = {"from_step": from_step, "to_step": to_step}
        ask = Ask(max_points=max_points, reduce=reduce, **{end: step for end, step in ends.items() if step is not None})
        with self._database.read() as connection:
            keys = _keys(connection, run_ids)
            found: dict[str, dict[str, Series]] = {run_id: {} for run_id in keys.values()}
            wanted = {"keys": list(keys)} | ({} if names is None else {"names": list(names)})
            for row in connection.execute(_ALL if names is None else _NAMED, wanted).all():
                found[keys[row.run_key]][row.name] = read(connection, row, ask)
        return found


def _keys(connection: Connection, run_ids: Sequence[str]) -> dict[int, str]:
    return dict(connection.execute(_KEYS, {"run_ids": list(run_ids)}).all())


def summaries(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, dict[str, Any]]]:
    """By run key and metric."""
    found: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for key, name, *columns in connection.execute(_SUMMARIES, {"keys": list(keys)}):
        found[key][name] = _summary(name, summary.of_columns(columns))
    return found


@lru_cache(maxsize=1024)
def direction(name: str) -> Literal["min", "max"] | None:
    """Which end of a metric is its best, by its name; None when the name does not tell.

    Losses, errors and perplexities are best at their minimum; accuracies, F1, AUC, R2, precision, recall, scores,
    rewards, BLEU and IoU at their maximum.
    """
    if _SMALLER.search(name):
        return "min"
    return "max" if _BIGGER.search(name) else None


def _summary(name: str, known: Summary) -> dict[str, Any]:
    end, finite = direction(name), known.n - known.nonfinite
    low, high = {"value": known.min, "step": known.min_step}, {"value": known.max, "step": known.max_step}
    return {
        "n": known.n,
        "nonfinite": known.nonfinite,
        "first": {"value": _finite(known.first), "step": known.first_step},
        "last": {"value": _finite(known.last), "step": known.last_step},
        "min": low,
        "max": high,
        "mean": _finite(known.sum / finite) if finite else None,
        "best": (low if end == "min" else high) if end and finite else None,
        "direction": end,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
