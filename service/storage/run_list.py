"""The order in which runs are listed, a page at a time: by creation, by a value of any metric, by a field of the spec.

Which way is fast depends on how many runs the most selective condition leaves. A few: the value of each is looked up.
Some: the order's index is walked, passing over those that are not on their list. Many: every run that comes up on the
walk is asked for the conditions, until the page is full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from service.errors import Fault, InvalidSpec
from service.storage import cursor, run_view
from service.storage.conditions import Conditions, Keyed
from service.storage.metrics import direction
from service.storage.rows import Page, Run
from service.storage.tables import run_params, runs, series

_FEW, _SOME = 200, 5_000
_ordered, _ordered_params = series.alias("ordered"), run_params.alias("ordered")
_VALUES = {name: _ordered.c[name] for name in ("last", "first", "min", "max")}
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "started_at": func.coalesce(runs.c.started_at, runs.c.created_at), "ended_at": runs.c.ended_at,
    "name": runs.c.name, "status": runs.c.status,
}  # fmt: skip
_ALLOWED = ("created_at", *_COLUMNS, *(f"{each}.<metric>" for each in ("best", *_VALUES)), "spec.<field>")
Places = list[tuple[Any, ...]]  # what a cursor holds, the run's key first


@dataclass(frozen=True)
class Order:
    """By which value; of which row, when it stands in another table than the runs."""

    value: ColumnElement[Any]
    descending: bool
    run_key: ColumnElement[int] | None = None
    named: ColumnElement[bool] | None = None

    @property
    def lookup(self) -> ColumnElement[Any]:
        """The value of the run of the query around it."""
        if self.run_key is None or self.named is None:
            return self.value
        return select(self.value).where(self.run_key == runs.c.key, self.named).scalar_subquery()


@dataclass(frozen=True)
class Search:
    """What must hold: conditions that leave so few runs that they are lists, and those that are asked of each run."""

    lists: list[Keyed]
    asked: list[Keyed]
    plain: list[ColumnElement[bool]]  # on the run's own row
    few: bool = False

    def of(self, run_key: ColumnElement[int]) -> Iterator[ColumnElement[bool]]:
        """The same where `run_key` is the run's."""
        yield from (run_key.in_(each.keys) for each in self.lists)
        yield from self.plain
        yield from (each.holds_for(run_key) for each in self.asked)


def page(connection: Connection, conditions: Conditions, sort: str, after: str | None, limit: int) -> Page[Run]:
    """A page of the runs that meet the conditions. Raises InvalidSpec for an unknown order and a foreign cursor."""
    descending, key = sort.startswith("-"), sort.removeprefix("-")
    search = _search(connection, conditions)
    if key == "created_at":
        (last,) = _place(after, sort, int)
        places = _by_creation(connection, search, descending, last, limit + 1)
    else:
        order = _order(connection, key, descending)
        last, value = _place(after, sort, int, (float, int, str, type(None)))
        places = _by_value(connection, search, order, last, value, limit + 1)
    found = run_view.several(connection, [key for key, *_ in places[:limit]])
    return Page(found, cursor.encode(*places[limit - 1], sort) if len(places) > limit else None)


def _place(after: str | None, sort: str, *types: type | tuple[type, ...]) -> Sequence[Any]:
    """Where the page before has ended; None of each at the beginning. Raises InvalidSpec for another order's cursor."""
    if after is None:
        return [None] * len(types)
    *place, sorted_by = cursor.decode(after, *types, str)
    if sorted_by != sort:
        message = f"a cursor of runs sorted by {sorted_by[:50]}, not by {sort[:50]}"
        raise InvalidSpec(message, faults=[Fault("/after", "invalid_cursor", message, "Begin without one.")])
    return place


def _search(connection: Connection, conditions: Conditions) -> Search:
    """Counts what each condition leaves, but no further than to some, and what the short lists have in common."""
    search = Search([], [], [])
    for each in conditions.keyed:
        short = not each.absent and _count(connection, each.keys.limit(_SOME + 1)) <= _SOME
        (search.lists if short else search.asked).append(each)
    if conditions.plain:
        own = Keyed(select(runs.c.key).where(*conditions.plain), runs.c.key)
        if _count(connection, own.keys.limit(_SOME + 1)) <= _SOME:
            search.lists.append(own)
        else:
            search.plain.extend(conditions.plain)
    common = select(runs.c.key).where(*(runs.c.key.in_(each.keys) for each in search.lists)).limit(_FEW + 1)
    return replace(search, few=bool(search.lists) and _count(connection, common) <= _FEW)


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _order(connection: Connection, key: str, descending: bool) -> Order:
    if key in _COLUMNS:
        return Order(_COLUMNS[key], descending)
    which, _, name = key.partition(".")
    if which == "spec" and name:
        return _by_field(connection, name, descending)
    if which == "best":
        which = direction(name) or ("max" if descending else "min")
    if which not in _VALUES or not name:
        message = f"cannot sort by {key[:100]!r}"
        raise InvalidSpec(message, faults=[Fault("/sort", "unknown_sort", message, allowed=_ALLOWED)])
    return Order(_VALUES[which], descending, _ordered.c.run_key, _ordered.c.name == name)


def _by_field(connection: Connection, name: str, descending: bool) -> Order:
    """By its numbers; by its words, when no run has a number there."""
    numbers = select(run_params.c.run_key).where(run_params.c.name == name, run_params.c.number.is_not(None))
    named = _ordered_params.c.name == name
    if connection.execute(numbers.limit(1)).first() is None:
        return Order(_ordered_params.c.text, descending, _ordered_params.c.run_key, named)
    return Order(_ordered_params.c.number, descending, _ordered_params.c.run_key, named)


def _by_creation(connection: Connection, search: Search, descending: bool, last: Any, limit: int) -> Places:
    query = select(runs.c.key).where(*search.of(runs.c.key))
    query = query.order_by(runs.c.key.desc() if descending else runs.c.key)
    if last is not None:
        query = query.where(runs.c.key < last if descending else runs.c.key > last)
    return [tuple(row) for row in connection.execute(query.limit(limit))]


def _by_value(
    connection: Connection, search: Search, order: Order, last_key: Any, last_value: Any, limit: int
) -> Places:
    """(key, value) of the runs that have the value, in its order, then of those that have none, newest first."""
    found: Places = []
    if last_key is None or last_value is not None:
        found = _with_value(connection, search, order, last_key, last_value, limit)
        last_key = None
    if len(found) < limit:
        query = select(runs.c.key).where(*search.of(runs.c.key), order.lookup.is_(None)).order_by(runs.c.key.desc())
        if last_key is not None:
            query = query.where(runs.c.key < last_key)
        found += [(key, None) for (key,) in connection.execute(query.limit(limit - len(found)))]
    return found


def _with_value(
    connection: Connection, search: Search, order: Order, last_key: Any, last_value: Any, limit: int
) -> Places:
    query, key, value = _looked_up(search, order) if search.few else _walked(search, order)
    query = query.where(value.is_not(None))
    if last_key is not None:  # the first condition is what an index can use
        further = value <= last_value if order.descending else value >= last_value
        query = query.where(further, or_(value != last_value, key < last_key if order.descending else key > last_key))
    ends = (value.desc(), key.desc()) if order.descending else (value, key)  # as the index has them
    query = query.order_by(*ends)
    return [tuple(row) for row in connection.execute(query.limit(limit))]


def _looked_up(search: Search, order: Order) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any]]:
    looked_up = select(runs.c.key, order.lookup.label("value")).where(*search.of(runs.c.key))
    valued = looked_up.cte().prefix_with("MATERIALIZED")
    return select(valued.c.key, valued.c.value), valued.c.key, valued.c.value


def _walked(search: Search, order: Order) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any]]:
    if order.run_key is None or order.named is None:
        return select(runs.c.key, order.value).where(*search.of(runs.c.key)), runs.c.key, order.value
    query = select(order.run_key, order.value).where(order.named, *search.of(order.run_key))
    if search.plain:
        query = query.join(runs, runs.c.key == order.run_key)
    return query, order.run_key, order.value
