"""Reading series: a range of points, whole or reduced to as many as a chart can show.

A chart is drawn from the outlines of the sealed blocks wherever they are fine enough, without opening the blocks but
for the few stretches that stand out. It depends on nothing but what is stored, so the same question gives the same
answer twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, not_, select

from service.storage import block, outline, reduce
from service.storage.block import Points
from service.storage.database import Prepared
from service.storage.outline import STRETCH, Outline
from service.storage.reduce import Reduce
from service.storage.rows import Series
from service.storage.tables import blocks

_FINE = 2  # stretches that a bucket must have to be drawn from them
_WHOLE = 1 << 62
_FROM: Any = bindparam("from_step")
_TO: Any = bindparam("to_step")
_OVERLAPS = and_(blocks.c.last_step >= _FROM, blocks.c.first_step <= _TO)
_INSIDE = and_(blocks.c.first_step >= _FROM, blocks.c.last_step <= _TO)


def _query(column: Any, where: ColumnElement[bool]) -> Prepared:
    mine = and_(blocks.c.run_key == bindparam("of_run"), blocks.c.name == bindparam("of_name"))
    return Prepared(select(column).where(mine, where).order_by(blocks.c.first_step))


_POINTS = _query(blocks.c.data, _OVERLAPS)
_OUTLINES = _query(blocks.c.outline, _INSIDE)
_AT_THE_ENDS = _query(blocks.c.data, and_(_OVERLAPS, not_(_INSIDE)))
_NONFINITE = _query(blocks.c.data, and_(_INSIDE, blocks.c.nonfinite > 0))


@dataclass(frozen=True)
class Ask:
    """What of a series is wanted; both ends belong to the range."""

    from_step: int = -_WHOLE
    to_step: int = _WHOLE
    max_points: int | None = None
    reduce: Reduce = "minmax"


def read(connection: Connection, row: Row[Any], ask: Ask) -> Series:
    """`row` is one of `series`, with its tail."""
    tail = _cut(block.unpacked(row.tail), ask)
    if row.n == row.tail_n:
        return _reduced(row.name, tail, ask)
    drawn = _drawn(connection, row, tail, ask)
    if drawn is not None:
        return drawn
    found = block.opened(_data(connection, _POINTS, row, ask), tail)
    found = found.between(ask.from_step, ask.to_step)
    if ask.max_points is None or len(found.steps) <= ask.max_points:
        return Series(row.name, found.steps, found.values, found.times, len(found.steps), None)
    return _reduced(row.name, found.points(), ask)


def _drawn(connection: Connection, row: Row[Any], tail: Points, ask: Ask) -> Series | None:
    """From outlines, where they are fine enough; opened are only the ends of the range and what is not finite."""
    if ask.max_points is None or ask.reduce == "lttb" or row.n <= ask.max_points:
        return None
    inside = np.frombuffer(b"".join(_data(connection, _OUTLINES, row, ask)), STRETCH)
    if len(inside) < _FINE * reduce.buckets(ask.reduce, ask.max_points, nonfinite=False):
        return None
    ends = _cut(block.opened(_data(connection, _AT_THE_ENDS, row, ask), tail).points(), ask)
    before = int(np.searchsorted(ends["step"], inside["first"]["step"][0]))
    around = outline.outline(ends[:before]), inside, outline.outline(ends[before:])
    bad = ends
    if row.nonfinite:
        bad = block.opened(_data(connection, _NONFINITE, row, ask), ends).points()
    bad = np.sort(bad[~np.isfinite(bad["value"])], order="step")
    found = np.concatenate(around)
    far = reduce.standing_out(found, ask.max_points) if ask.reduce == "minmax" else reduce.NONE
    together = np.split(far, np.flatnonzero(np.diff(far) > 1) + 1) if len(far) else []
    inside = np.concatenate([ends[:0], *(_inside(connection, row, tail, found[each]) for each in together)])
    chosen = reduce.of_stretches(found, bad, ask.reduce, ask.max_points, far, inside)
    return _series(row.name, chosen, int(found["n"].sum()), ask.reduce)


def _inside(connection: Connection, row: Row[Any], tail: Points, stretches: Outline) -> Points:
    """The points of stretches that follow each other."""
    ask = Ask(int(stretches["first"]["step"][0]), int(stretches["last"]["step"][-1]))
    return _cut(block.opened(_data(connection, _POINTS, row, ask), tail).points(), ask)


def _data(connection: Connection, query: Prepared, row: Row[Any], ask: Ask) -> list[bytes]:
    wanted = {"of_run": row.run_key, "of_name": row.name, "from_step": ask.from_step, "to_step": ask.to_step}
    return [data for (data,) in query(connection, wanted)]


def _cut(found: Points, ask: Ask) -> Points:
    low = np.searchsorted(found["step"], ask.from_step)
    return found[low : np.searchsorted(found["step"], ask.to_step, "right")]


def _reduced(name: str, found: Points, ask: Ask) -> Series:
    if ask.max_points is None or len(found) <= ask.max_points:
        return _series(name, found, len(found), None)
    return _series(name, reduce.of_points(found, ask.reduce, ask.max_points), len(found), ask.reduce)


def _series(name: str, found: Points, n: int, how: Reduce | None) -> Series:
    steps, values, times = (np.ascontiguousarray(found[field]) for field in ("step", "value", "time"))
    return Series(name, steps, values, times, n, how)
