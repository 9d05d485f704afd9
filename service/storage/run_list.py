"""The order in which runs are listed: by creation, or by a value of any metric, a page at a time.

By a metric there are two ways, and which is faster depends on how many runs the filters leave: few, and the value of
each is looked up; many, and the metric's index is walked until the page is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, or_, select

from service.errors import Fault, InvalidSpec
from service.storage import cursor, run_view
from service.storage.rows import Page, Run
from service.storage.tables import runs, series

_FEW = 5_000
_VALUES = {"last": series.c.last, "min": series.c.min, "max": series.c.max}
_ALLOWED = ("created_at", "best.<metric>", "last.<metric>", "min.<metric>", "max.<metric>")
Conditions = Sequence[ColumnElement[bool]]
Places = list[tuple[Any, ...]]  # what a cursor holds, the run's key first


@dataclass(frozen=True)
class Order:
    """By which value of which metric."""

    value: ColumnElement[Any]
    name: str
    descending: bool

    @property
    def lookup(self) -> ScalarSelect[Any]:
        """The value of the run of the query around it."""
        return select(self.value).where(series.c.run_key == runs.c.key, series.c.name == self.name).scalar_subquery()


def page(connection: Connection, conditions: Conditions, sort: str, after: str | None, limit: int) -> Page[Run]:
    """A page of the runs that meet the conditions. Raises InvalidSpec for an unknown order and a foreign cursor."""
    descending, key = sort.startswith("-"), sort.removeprefix("-")
    if key == "created_at":
        places = _by_creation(connection, conditions, descending, after, limit + 1)
    else:
        places = _by_metric(connection, conditions, _order(key, descending), after, limit + 1)
    found = run_view.several(connection, [key for key, *_ in places[:limit]])
    return Page(found, cursor.encode(*places[limit - 1]) if len(places) > limit else None)


def _order(key: str, descending: bool) -> Order:
    which, _, name = key.partition(".")
    if which == "best":
        which = "max" if descending else "min"
    if which not in _VALUES or not name:
        message = f"cannot sort by {key[:100]!r}"
        raise InvalidSpec(message, faults=[Fault("/sort", "unknown_sort", message, allowed=_ALLOWED)])
    return Order(_VALUES[which], name, descending)


def _by_creation(
    connection: Connection, conditions: Conditions, descending: bool, after: str | None, limit: int
) -> Places:
    query = select(runs.c.key).where(*conditions).order_by(runs.c.key.desc() if descending else runs.c.key)
    if after is not None:
        (last,) = cursor.decode(after, int)
        query = query.where(runs.c.key < last if descending else runs.c.key > last)
    return [tuple(row) for row in connection.execute(query.limit(limit))]


def _by_metric(connection: Connection, conditions: Conditions, order: Order, after: str | None, limit: int) -> Places:
    """(key, value) of the runs that have the value, in its order, then of those that have none, newest first."""
    last_key, last_value = (None, None) if after is None else cursor.decode(after, int, (float, int, type(None)))
    found: Places = []
    if after is None or last_value is not None:
        found = _with_value(connection, conditions, order, last_key, last_value, limit)
        last_key = None
    if len(found) < limit:
        query = select(runs.c.key).where(*conditions, order.lookup.is_(None)).order_by(runs.c.key.desc())
        if last_key is not None:
            query = query.where(runs.c.key < last_key)
        found += [(key, None) for (key,) in connection.execute(query.limit(limit - len(found)))]
    return found


def _with_value(
    connection: Connection, conditions: Conditions, order: Order, last_key: Any, last_value: Any, limit: int
) -> Places:
    some = select(runs.c.key).where(*conditions).limit(_FEW + 1).subquery()
    if conditions and connection.execute(select(func.count()).select_from(some)).scalar_one() <= _FEW:
        looked_up = select(runs.c.key, order.lookup.label("value")).where(*conditions)
        valued = looked_up.cte().prefix_with("MATERIALIZED")
        key: ColumnElement[Any] = valued.c.key
        value: ColumnElement[Any] = valued.c.value
        query = select(key, value)
    else:
        key, value = series.c.run_key, order.value
        query = select(key, value).where(series.c.name == order.name)
        if conditions:
            query = query.join(runs, runs.c.key == key).where(*conditions)
    query = query.where(value.is_not(None))
    if last_key is not None:  # the first condition is what an index can use
        further = value <= last_value if order.descending else value >= last_value
        query = query.where(further, or_(value != last_value, key < last_key))
    query = query.order_by(value.desc() if order.descending else value, key.desc())
    return [tuple(row) for row in connection.execute(query.limit(limit))]
