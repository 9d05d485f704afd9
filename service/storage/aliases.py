"""Aliases of models: every move is a row that stays, the last one counts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from service.errors import NotFound, PreconditionFailed
from service.storage import moment
from service.storage.rows import AliasMove
from service.storage.tables import aliases


def move(connection: Connection, name: str, alias: str, version: int | None, expected: int | None) -> AliasMove:
    """A new last row. `expected`: the revision of the one before, 0 for an alias that points nowhere."""
    if expected is not None:
        found = last(connection, name, alias)
        now = 0 if found is None or (expected == 0 and found.version is None) else found.revision
        if now != expected:
            where = "nowhere" if found is None or found.version is None else f"at {name}:{found.version}"
            hint = "Look again, and send the ETag of what you saw in If-Match."
            raise PreconditionFailed(f"{name}@{alias} has moved since: it points {where}", hint=hint)
    values = {"name": name, "alias": alias, "version": version, "at": moment.now()}
    return _move(connection.execute(insert(aliases).values(values).returning(aliases)).one())


def last(connection: Connection, name: str, alias: str) -> AliasMove | None:
    """The move that counts."""
    query = select(aliases).where(aliases.c.name == name, aliases.c.alias == alias).order_by(aliases.c.key.desc())
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _move(row)


def before(connection: Connection, name: str, alias: str) -> int | None:
    """The version that it pointed at before where it points now; None when there is none. Raises NotFound."""
    moves = history(connection, name, alias)
    if not moves:
        raise NotFound(f"no alias {alias} of {name}")
    others = [each.version for each in moves if each.version not in (None, moves[-1].version)]
    return others[-1] if others else None


def pointing(connection: Connection, name: str) -> dict[str, int]:
    """Where each alias points now."""
    newest = {each.alias: each.version for each in history(connection, name)}
    return {alias: version for alias, version in newest.items() if version is not None}


def history(connection: Connection, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
    """Every move, oldest first."""
    query = select(aliases).where(aliases.c.name == name)
    if alias is not None:
        query = query.where(aliases.c.alias == alias)
    return tuple(map(_move, connection.execute(query.order_by(aliases.c.key))))


def forget(connection: Connection, name: str) -> None:
    """All aliases of a model with their history."""
    connection.execute(delete(aliases).where(aliases.c.name == name))


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(row.name, row.alias, row.version, moment.unpack(row.at), row.key)
