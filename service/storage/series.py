"""Writing series: new points go to the tail, a full tail is sealed, and a step written again replaces its point.

A row of `series` holds the summary of the whole and the tail: the newest points, 24 bytes each. Older points are in
sealed `blocks`, whose ranges of steps do not overlap and lie before the tail.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
from sqlalchemy import Connection, LargeBinary, and_, bindparam, cast, delete, insert, select, update

from service.errors import InvalidData
from service.storage import block, moment, outline, summary
from service.storage.block import POINT, SEALED_POINTS, Points
from service.storage.database import Prepared
from service.storage.summary import Summary
from service.storage.tables import blocks, series

_SEAL_POINTS = 1024  # a tail that long is sealed, in blocks of at most `SEALED_POINTS`
_FEW, _SHORT_POINTS = 8, 128  # fewer new points than that go behind a short tail: all of it is written anew each time
_MANY = 256  # so many new points are worth reading the series for: a batch seldom has neither end of it
_SEAL_AT_END_POINTS = 256  # a shorter tail stays one when the run ends

_MINE = and_(series.c.run_key == bindparam("run_key"), series.c.name == bindparam("name"))
_IN_SERIES = ("tail_n", "tail", *summary.NAMES)
_GROWING = ("tail_n", "tail", "n", "nonfinite", "last_step", "last", "sum")
_IN_BLOCKS = ("run_key", "name", "outline", "data")
_KNOWN = Prepared(select(series.c.key, *(series.c[name] for name in _IN_SERIES)).where(_MINE))
_BEGIN = Prepared(insert(series).values({name: bindparam(name) for name in ("run_key", "name", *_IN_SERIES)}))
_THIS = update(series).where(series.c.key == bindparam("of_key"))
_SET = Prepared(_THIS.values({name: bindparam(name) for name in _IN_SERIES}))
_GROW = Prepared(_THIS.values({name: bindparam(name) for name in _GROWING}))  # two indexes are left alone
_COUNT_REWRITE = Prepared(_THIS.values(rewrites=series.c.rewrites + 1))
_TAIL: Any = series.c.tail
_ADD = Prepared(  # points behind all others of which none is a new extreme: nothing of the series need be read for them
    update(series)
    .where(_MINE, series.c.last_step < bindparam("first_step"), series.c.tail_n < bindparam("room"))
    .where(series.c.min <= bindparam("min"), series.c.max >= bindparam("max"))
    .values({name: bindparam(name) for name in ("last_step", "last")})
    .values({name: series.c[name] + bindparam(name) for name in ("n", "nonfinite", "sum")})
    .values(tail_n=series.c.tail_n + bindparam("n"))
    .values(tail=cast(_TAIL.op("||")(bindparam("points")), LargeBinary))  # what || makes is text in SQLite
    .returning(series.c.key)
)
_SEAL = Prepared(insert(blocks).values({name: bindparam(name) for name in (*_IN_BLOCKS, *summary.NAMES)}))
_MY_BLOCKS = and_(blocks.c.run_key == bindparam("run_key"), blocks.c.name == bindparam("name"))
_LAST = Prepared(
    select(blocks.c.key, blocks.c.n, blocks.c.data).where(_MY_BLOCKS).order_by(blocks.c.first_step.desc()).limit(1)
)
_TAKE = Prepared(delete(blocks).where(blocks.c.key == bindparam("of_key")))
_SUMMARIES = select(*(blocks.c[name] for name in summary.NAMES)).where(_MY_BLOCKS).order_by(blocks.c.first_step)


def append(connection: Connection, run_key: int, *given: Mapping[str, tuple[Any, ...]]) -> None:
    """Writes (steps, values[, times]) by name, in the caller's transaction, which holds the run's row.

    What is given later counts where it has the same steps.
    """
    at = moment.now() // 1000
    parts: dict[str, list[Points]] = {}
    for each in given:
        for name, (steps, values, *times) in each.items():
            if len(given) == len(steps) == 1 and _added_one(connection, run_key, name, steps[0], values[0], times, at):
                continue
            parts.setdefault(name, []).append(block.points(steps, values, times[0] if times else at))
    for name, found in parts.items():
        new = found[0] if len(found) == 1 else block.in_order(np.concatenate(found))
        if len(new):
            _append(connection, {"run_key": run_key, "name": name}, new, tried=len(given) == len(new) == 1)


def seal(connection: Connection, run_key: int) -> None:
    """Seals what lies in the tails, for a run that has ended."""
    long = select(series).where(series.c.run_key == run_key, series.c.tail_n >= _SEAL_AT_END_POINTS)
    for row in connection.execute(long).all():
        _seal_behind(connection, {"run_key": run_key, "name": row.name}, block.unpacked(row.tail))
        emptied = update(series).where(series.c.key == row.key).values(tail_n=0, tail=b"")
        connection.execute(emptied)


def _added_one(
    connection: Connection, run_key: int, name: str, step: Any, value: Any, times: Sequence[Any], at: int
) -> bool:
    """Whether this one point could be put behind the tail as it is."""
    step, value, time = int(step), float(value), int(times[0][0]) if times else at
    point = struct.pack("<qqd", step, time, value)
    told = {"n": 1, "nonfinite": 0, "first_step": step, "last_step": step, "points": point, "room": _room(1)}
    told |= dict.fromkeys(("last", "min", "max", "sum"), value)
    return bool(_ADD(connection, {"run_key": run_key, "name": name, **told}))


def _append(connection: Connection, mine: Mapping[str, Any], new: Points, *, tried: bool) -> None:
    added, data, room = summary.of_points(new), new.tobytes(), _room(len(new))
    if len(new) < _MANY and not tried and _ADD(connection, {**mine, **added.columns(), "points": data, "room": room}):
        return
    known = _KNOWN(connection, mine)
    if not known:
        _BEGIN(connection, {**mine, **_grown(connection, mine, added, data, room)})
        return
    ((key, tail_n, tail, *columns),) = known
    room -= tail_n
    before, of_key = summary.of_columns(columns), {"of_key": key}
    if added.first_step > before.last_step:
        total = summary.joined(before, added)
        same = (total.min_step, total.max_step) == (before.min_step, before.max_step)
        (_GROW if same else _SET)(connection, of_key | _grown(connection, mine, total, tail + data, room))
        return
    total, rest = _rewritten(connection, mine, before.n > tail_n, block.unpacked(tail), new)
    if len(rest) >= _SEAL_POINTS:
        _seal(connection, mine, rest)
        rest = rest[:0]
    _COUNT_REWRITE(connection, of_key)
    _SET(connection, of_key | _columns(total, rest.tobytes()))


def _room(new: int) -> int:
    """A tail of fewer points than this takes so many new ones; another is sealed with them."""
    return (_SHORT_POINTS if new < _FEW else _SEAL_POINTS) - new


def _grown(connection: Connection, mine: Mapping[str, Any], total: Summary, tail: bytes, room: int) -> dict[str, Any]:
    """The columns of a series with new points at the end of its tail, which is sealed where there was no room."""
    if room > 0:
        return _columns(total, tail)
    _seal_behind(connection, mine, block.unpacked(tail))
    return _columns(total, b"")


def _columns(total: Summary, tail: bytes) -> dict[str, Any]:
    return total.columns() | {"tail_n": len(tail) // POINT.itemsize, "tail": tail}


def _seal_behind(connection: Connection, mine: Mapping[str, Any], tail: Points) -> None:
    """Seals what lies behind all blocks; where it is short, with the last of them when that is short too."""
    for key, n, data in _LAST(connection, mine) if len(tail) < _SEAL_POINTS else ():
        if n < _SEAL_POINTS:
            with suppress(InvalidData):  # damage stays where it is, for `check` to find
                tail = np.concatenate([block.opened([data]).points(), tail])
                _TAKE(connection, {"of_key": key})
    _seal(connection, mine, tail)


def _seal(connection: Connection, mine: Mapping[str, Any], found: Points) -> None:
    """Writes points as blocks of about equal size."""
    pieces = -(-len(found) // SEALED_POINTS)
    for part in np.array_split(found, pieces) if pieces > 1 else (found,):
        packed = {"outline": outline.outline(part).tobytes(), "data": block.seal(part)}
        _SEAL(connection, {**mine, **summary.of_points(part).columns(), **packed})


def _rewritten(
    connection: Connection, mine: Mapping[str, Any], has_blocks: bool, tail: Points, new: Points
) -> tuple[Summary, Points]:
    """The summary and the tail when some of the steps are there already, or lie between those that are."""
    first, last = int(new["step"][0]), int(new["step"][-1])
    if not has_blocks or (len(tail) and first >= tail["step"][0]):
        tail = block.merged(tail, new)
    else:
        old = _taken(connection, mine, first, last)
        if len(tail) and last >= tail["step"][0]:
            tail = block.merged(np.concatenate([old, tail]), new)
        else:
            _seal(connection, mine, block.merged(old, new))
    parts = [summary.of_columns(row) for row in connection.execute(_SUMMARIES, mine)]
    if len(tail):
        parts.append(summary.of_points(tail))
    return reduce(summary.joined, parts), tail


def _taken(connection: Connection, mine: Mapping[str, Any], first: int, last: int) -> Points:
    """Takes out the blocks that these steps overlap; where they fall between blocks, the one before, or the first."""
    overlapping = and_(blocks.c.last_step >= first, blocks.c.first_step <= last)
    before = select(blocks.c.key).where(_MY_BLOCKS, blocks.c.last_step < first).order_by(blocks.c.first_step.desc())
    lowest = select(blocks.c.key).where(_MY_BLOCKS).order_by(blocks.c.first_step)
    for which in (overlapping, blocks.c.key.in_(before.limit(1)), blocks.c.key.in_(lowest.limit(1))):
        taking = delete(blocks).where(_MY_BLOCKS, which).returning(blocks.c.first_step, blocks.c.data)
        taken = connection.execute(taking, mine).all()
        if taken:
            return block.opened([data for _, data in sorted(taken)]).points()
    return block.unpacked(b"")
