"""Reading series: a range of points, whole or reduced to as many as a chart can show.

A chart is drawn from the outlines of the sealed blocks wherever they are fine enough, without opening the blocks. It
depends on nothing but what is stored, so the same question gives the same answer twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, select

from service.storage import block, outline, reduce
from service.storage.block import Points
from service.storage.outline import STRETCH, STRETCH_POINTS
from service.storage.reduce import Reduce
from service.storage.rows import Series
from service.storage.tables import blocks

_FINE = 2  # stretches that a bucket must have to be drawn from them
_WHOLE = 1 << 62
_HEADER = (blocks.c.key, blocks.c.n, blocks.c.nonfinite, blocks.c.first_step, blocks.c.last_step, blocks.c.outline)


@dataclass(frozen=True)
class Ask:
    """What of a series is wanted; both ends belong to the range."""

    from_step: int = -_WHOLE
    to_step: int = _WHOLE
    max_points: int | None = None
    reduce: Reduce = "minmax"


def read(connection: Connection, row: Row[Any], ask: Ask) -> Series:
    """`row` is one of `series`, with its tail."""
    tail = _cut([block.unpacked(row.tail)], ask)
    if row.n == row.tail_n:
        return _reduced(row.name, tail, ask)
    if ask.max_points is not None and ask.reduce != "lttb" and row.n > ask.max_points:
        headers = connection.execute(_of(row, ask, *_HEADER)).all()
        stretches = sum(-(-header.n // STRETCH_POINTS) for header in headers)
        if stretches >= _FINE * reduce.buckets(ask.reduce, ask.max_points, nonfinite=False):
            return _drawn(connection, row.name, headers, tail, ask)
    data = connection.execute(_of(row, ask, blocks.c.data)).scalars()
    return _reduced(row.name, _cut([*map(block.opened, data), tail], ask), ask)


def _of(row: Row[Any], ask: Ask, *columns: Any) -> Any:
    mine = (blocks.c.run_key == row.run_key, blocks.c.name == row.name)
    inside = (blocks.c.last_step >= ask.from_step, blocks.c.first_step <= ask.to_step)
    return select(*columns).where(*mine, *inside).order_by(blocks.c.first_step)


def _drawn(connection: Connection, name: str, headers: Sequence[Row[Any]], tail: Points, ask: Ask) -> Series:
    """From outlines; opened are only the blocks at the ends of the range, and those with non-finite values."""
    cut = {each.key for each in headers if each.first_step < ask.from_step or each.last_step > ask.to_step}
    wanted = cut | {each.key for each in headers if each.nonfinite}
    rows = connection.execute(select(blocks.c.key, blocks.c.data).where(blocks.c.key.in_(wanted))) if wanted else ()
    opened = {key: _cut([block.opened(data)], ask) for key, data in rows}
    drawn = [outline.outline(opened[each.key]).tobytes() if each.key in cut else each.outline for each in headers]
    stretches = np.frombuffer(b"".join([*drawn, outline.outline(tail).tobytes()]), STRETCH)
    bad = np.concatenate([points[~np.isfinite(points["value"])] for points in (*opened.values(), tail)])
    bad.sort(order="step")
    assert ask.max_points is not None
    found = reduce.of_stretches(stretches, bad, ask.reduce, ask.max_points)
    return _series(name, found, int(stretches["n"].sum()), ask.reduce)


def _reduced(name: str, found: Points, ask: Ask) -> Series:
    if ask.max_points is None or len(found) <= ask.max_points:
        return _series(name, found, len(found), None)
    return _series(name, reduce.of_points(found, ask.reduce, ask.max_points), len(found), ask.reduce)


def _cut(pieces: Iterable[Points], ask: Ask) -> Points:
    found = np.concatenate(list(pieces))
    low = np.searchsorted(found["step"], ask.from_step)
    return found[low : np.searchsorted(found["step"], ask.to_step, "right")]


def _series(name: str, found: Points, n: int, how: Reduce | None) -> Series:
    steps, values, times = (np.ascontiguousarray(found[field]) for field in ("step", "value", "time"))
    return Series(name, steps, values, times, n, how)
