"""Metrics: one series per run and name, a point per step; writing a step again replaces its point."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, case, func, select, update

from service.errors import NotFound, TooLarge
from service.storage import block, increment, summary
from service.storage.curve import Ask, read
from service.storage.database import Database, Prepared
from service.storage.epochs import Epochs
from service.storage.external import check_open
from service.storage.increment import Marks
from service.storage.outline import LAST_AT, STRETCH
from service.storage.reduce import Reduce
from service.storage.rows import News, Point, Series
from service.storage.series import append
from service.storage.summary import Summary
from service.storage.tables import blocks, runs, series

MAX_POINTS = 4_000_000  # of one answer
_BIGGER, _SMALLER = (
    re.compile(rf"{anywhere}|(?:^|[^a-z0-9])(?:{words})(?:@?\d*)(?:[^a-z0-9]|$)", re.IGNORECASE)
    for anywhere, words in (
        ("accuracy", "acc|f1|auc|auroc|auprc|r2|precision|recall|score|reward|bleu|rouge[ln]?|m?iou|dice|map|ndcg|mrr|"
         "psnr|ssim|mcc|kappa|spearman|pearson|sensitivity|specificity|hit_rate|win_rate|exact_match|top"),
        ("loss|error|perplexity|bits_per|cross.?entropy",
         "mse|mae|rmse|mape|wer|cer|nll|ppl|bpc|err|kl|fid|ece|brier|regret|latency"),
    )
)  # fmt: skip
# Statements made once: making one costs more than running it.
_CHANGED = Prepared(
    update(runs)
    .where(runs.c.id == bindparam("run_id"))
    .values(revision=runs.c.revision + 1)
    .returning(runs.c.key, runs.c.type, runs.c.status)
)
_TAKES = Prepared(
    update(runs)
    .where(runs.c.id == bindparam("run_id"), runs.c.type == "external", runs.c.status == "running")
    .values(revision=runs.c.revision + 1)
    .returning(runs.c.key)
)
_KEYS = select(runs.c.key, runs.c.id).where(runs.c.id.in_(bindparam("run_ids", expanding=True)))
_ALL = select(series).where(series.c.run_key.in_(bindparam("keys", expanding=True))).order_by(series.c.name)
_NAMED = _ALL.where(series.c.name.in_(bindparam("names", expanding=True)))
_SUMMARIES = _ALL.with_only_columns(series.c.run_key, series.c.name, *(series.c[name] for name in summary.NAMES))


# The last point lies at the end of the tail, or when that is empty, in the last stretch of the last block's outline.
_POINT_BYTES, _STRETCH_BYTES = block.POINT.itemsize, STRETCH.itemsize
_LAST_BLOCK = (
    select(func.substr(blocks.c.outline, func.length(blocks.c.outline) - _STRETCH_BYTES + LAST_AT + 1, _POINT_BYTES))
    .where(blocks.c.run_key == series.c.run_key, blocks.c.name == series.c.name)
    .order_by(blocks.c.first_step.desc())
    .limit(1)
    .scalar_subquery()
)
_LATEST = select(
    series.c.run_key,
    series.c.name,
    func.substr(series.c.tail, func.length(series.c.tail) - _POINT_BYTES + 1, _POINT_BYTES),
    case((series.c.tail_n == 0, _LAST_BLOCK)),
).where(series.c.run_key.in_(bindparam("keys", expanding=True)))


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
            check_open(kind, status)
            append(connection, key, given)

    def append_all(
        self, given: Sequence[tuple[str, Mapping[str, tuple[Any, ...]]]], *, wait: bool = True
    ) -> list[bool]:
        """The same of several callers in one transaction; whose points were not taken hears why from `append`.

        Without `wait`, raises StorageBusy at once when anybody else is writing.
        """
        by_run: dict[str, list[Mapping[str, tuple[Any, ...]]]] = defaultdict(list)
        for run_id, points in given:
            by_run[run_id].append(points)
        taken = set[str]()
        with self._database.write(wait=wait) as connection:
            for run_id, every in by_run.items():
                for (key,) in _TAKES(connection, {"run_id": run_id}):
                    append(connection, key, *every)
                    taken.add(run_id)
        return [run_id in taken for run_id, _ in given]

    def summary(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """By run and metric: n, nonfinite, first, last, min, max, best with their steps, and the mean."""
        with self._database.read() as connection:
            keys = _keys(connection, run_ids)
            found = summaries(connection, list(keys))
        return {run_id: found.get(key, {}) for key, run_id in keys.items()}

    def latest(self, run_ids: Sequence[str]) -> dict[str, dict[str, Point]]:
        """By run and metric the point with the highest step."""
        with self._database.read() as connection:
            keys = _keys(connection, run_ids)
            found: dict[str, dict[str, Point]] = {run_id: {} for run_id in keys.values()}
            for run_key, name, in_tail, in_block in connection.execute(_LATEST, {"keys": list(keys)}):
                (point,) = block.unpacked(in_tail or in_block).tolist()
                found[keys[run_key]][name] = Point(*point)
        return found

    def series(self, run_id: str, names: Sequence[str] | None = None, **asked: Any) -> dict[str, Series]:
        """Points by name, steps ascending, both ends of the range included; names the run does not have are left out.

        `asked` is what `query` takes. Raises NotFound.
        """
        found = self.query([run_id], names, **asked)
        if run_id not in found:
            raise NotFound(f"no run {run_id}")
        return found[run_id]

    def query(
        self, run_ids: Sequence[str], names: Sequence[str] | None = None, *, from_step: int | None = None,
        to_step: int | None = None, max_points: int | None = None, reduce: Reduce = "minmax", epochs: bool = False,
    ) -> dict[str, dict[str, Series]]:  # fmt: skip
        """The same of many runs at one moment, by run; runs that do not exist are left out.

        With more points than `max_points` (5 or more) they are reduced. With `epochs` each point has its epoch and the
        rows per second of that epoch.
        """
        news = self.news(
            dict.fromkeys(run_ids), names, from_step=from_step, to_step=to_step, max_points=max_points, reduce=reduce,
            epochs=epochs,
        )  # fmt: skip
        return {run_id: dict(each.series) for run_id, each in news.items()}

    def news(
        self, after: Mapping[str, str | None], names: Sequence[str] | None = None, *, from_step: int | None = None,
        to_step: int | None = None, max_points: int | None = None, reduce: Reduce = "minmax", epochs: bool = False,
    ) -> dict[str, News]:  # fmt: skip
        """The same of runs by their cursors, without the points that the callers of before have, and new cursors.

        A series without news is left out; one that was rewritten since comes whole. Raises InvalidSpec for a cursor
        that is none.
        """
        ends = {"from_step": from_step, "to_step": to_step}
        ask = Ask(max_points=max_points, reduce=reduce, **{end: step for end, step in ends.items() if step is not None})
        marks = {run_id: increment.read(cursor) for run_id, cursor in after.items()}
        with self._database.read() as connection:
            keys = _keys(connection, list(after))
            wanted = {"keys": list(keys)} | ({} if names is None else {"names": list(names)})
            rows: dict[int, list[Row[Any]]] = {key: [] for key in keys}
            for row in connection.execute(_ALL if names is None else _NAMED, wanted).all():
                rows[row.run_key].append(row)
            found: dict[str, News] = {}
            for key, each in rows.items():
                found[keys[key]] = _news(connection, each, marks[keys[key]], ask, epochs)
                _check_size(found.values())
            return found


def _check_size(found: Iterable[News]) -> None:
    """Raises TooLarge before what many runs have measured together fills the memory."""
    points = sum(len(each.steps) for news in found for each in news.series.values())
    if points > MAX_POINTS:
        hint = "Ask for fewer runs or names, for a range of steps, or with max_points."
        raise TooLarge(f"that is more than {MAX_POINTS:,} points", hint=hint)


def _news(connection: Connection, rows: Sequence[Row[Any]], marks: Marks, ask: Ask, epochs: bool) -> News:
    found: dict[str, Series] = {}
    for row in rows:
        part = increment.part(row, marks, ask)
        if part is not None:
            found[row.name] = replace(read(connection, row, part.ask), continues=part.continues)
    if epochs and rows:
        known = Epochs(connection, rows[0].run_key)
        found = {name: replace(each, **known.of(each.steps)) for name, each in found.items()}
    return News(found, increment.write(marks, rows))


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
    rewards, BLEU, IoU and others that the field knows at their maximum.
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
