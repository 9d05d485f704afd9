"""Writing series: new points go to the tail, a full tail is sealed, and a step written again replaces its point.

A row of `series` holds the summary of the whole and the tail: the newest points, 24 bytes each. Older points are in
sealed `blocks`, whose ranges of steps do not overlap and lie before the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, delete, insert, select, update

from service.storage import block, moment, outline, summary
from service.storage.block import POINT, SEALED_POINTS, Points
from service.storage.summary import Summary
from service.storage.tables import blocks, series

_SEAL_AT_END_POINTS = 256  # a shorter tail stays one when the run ends
_KNOWN = select(series).where(
    series.c.run_key == bindparam("of_run"), series.c.name.in_(bindparam("names", expanding=True))
)
_BEGIN, _SEAL = insert(series), insert(blocks)
_UPDATE = update(series).where(series.c.key == bindparam("of_key"))


def append(connection: Connection, run_key: int, given: Mapping[str, tuple[Any, ...]]) -> None:
    """Writes (steps, values[, times]) by name, in the caller's transaction, which holds the run's row."""
    at = moment.now() // 1000
    fresh = {name: points for name, columns in given.items() if len(points := _points(columns, at))}
    if not fresh:
        return
    rows = connection.execute(_KNOWN, {"of_run": run_key, "names": list(fresh)}).mappings()
    known = {row["name"]: row for row in rows}
    begun: list[dict[str, Any]] = []
    grown: list[dict[str, Any]] = []
    sealed: list[dict[str, Any]] = []
    for name, new in fresh.items():
        row = known.get(name)
        total, tail = _grown(connection, row, new)
        cut = len(tail) // POINT.itemsize // SEALED_POINTS * SEALED_POINTS
        of_series = {"run_key": run_key, "name": name}
        if cut:
            sealed += [of_series | _block(part) for part in np.split(block.unpacked(tail)[:cut], cut // SEALED_POINTS)]
            tail = tail[cut * POINT.itemsize :]
        columns = total.columns() | {"tail_n": len(tail) // POINT.itemsize, "tail": tail}
        if row is None:
            begun.append(of_series | columns)
        else:
            grown.append({"of_key": row["key"]} | columns)
    for statement, written in ((_BEGIN, begun), (_UPDATE, grown), (_SEAL, sealed)):
        if written:
            connection.execute(statement, written)


def seal(connection: Connection, run_key: int) -> None:
    """Seals what lies in the tails, for a run that has ended."""
    long = select(series).where(series.c.run_key == run_key, series.c.tail_n >= _SEAL_AT_END_POINTS)
    rows = connection.execute(long).mappings().all()
    if rows:
        sealed = [{"run_key": run_key, "name": row["name"]} | _block(block.unpacked(row["tail"])) for row in rows]
        connection.execute(_SEAL, sealed)
        connection.execute(_UPDATE, [{"of_key": row["key"], "tail_n": 0, "tail": b""} for row in rows])


def _points(columns: tuple[Any, ...], at: int) -> Points:
    steps, values, *times = columns
    return block.points(steps, values, times[0] if times else at)


def _grown(connection: Connection, row: RowMapping | None, new: Points) -> tuple[Summary, bytes]:
    """The summary and the tail with the new points in them."""
    if row is None:
        return summary.of_points(new), new.tobytes()
    if new["step"][0] > row["last_step"]:
        return summary.of_row(row) + summary.of_points(new), row["tail"] + new.tobytes()
    return _rewritten(connection, row, new)


def _rewritten(connection: Connection, row: RowMapping, new: Points) -> tuple[Summary, bytes]:
    """The same when some of the steps are there already, or lie between those that are."""
    mine = and_(blocks.c.run_key == row["run_key"], blocks.c.name == row["name"])
    tail = block.unpacked(row["tail"])
    if row["n"] == row["tail_n"] or (len(tail) and new["step"][0] >= tail["step"][0]):
        tail = block.merged(tail, new)
    else:
        old = _taken(connection, mine, int(new["step"][0]), int(new["step"][-1]))
        if len(tail) and new["step"][-1] >= tail["step"][0]:
            tail = block.merged(np.concatenate([old, tail]), new)
        else:
            both = block.merged(old, new)
            parts = np.array_split(both, -(-len(both) // SEALED_POINTS))
            of_series = {"run_key": row["run_key"], "name": row["name"]}
            connection.execute(_SEAL, [of_series | _block(part) for part in parts])
    query = select(blocks).with_only_columns(*_SUMMARY).where(mine).order_by(blocks.c.first_step)
    parts_of_all = [summary.of_row(each) for each in connection.execute(query).mappings()]
    if len(tail):
        parts_of_all.append(summary.of_points(tail))
    return reduce(add, parts_of_all), tail.tobytes()


_SUMMARY = [blocks.c[name] for name in summary.NAMES]


def _taken(connection: Connection, mine: ColumnElement[bool], first: int, last: int) -> Points:
    """Takes out the blocks that these steps overlap; where they fall between blocks, the one before, or the first."""
    overlapping = and_(mine, blocks.c.last_step >= first, blocks.c.first_step <= last)
    before = select(blocks.c.key).where(mine, blocks.c.last_step < first).order_by(blocks.c.first_step.desc()).limit(1)
    lowest = select(blocks.c.key).where(mine).order_by(blocks.c.first_step).limit(1)
    for which in (overlapping, blocks.c.key.in_(before), blocks.c.key.in_(lowest)):
        taken = connection.execute(delete(blocks).where(which).returning(blocks.c.first_step, blocks.c.data)).all()
        if taken:
            return block.opened([data for _, data in sorted(taken)]).points()
    return block.unpacked(b"")


def _block(found: Points) -> dict[str, Any]:
    return summary.of_points(found).columns() | {
        "outline": outline.outline(found).tobytes(),
        "data": block.seal(found),
    }
