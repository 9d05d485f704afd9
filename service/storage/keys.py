"""Keys: who may do what over HTTP. What a key says is told once, when it is made; kept is its SHA-256 alone.

A key is 256 random bits, so there is nothing to guess and a slow hash would only slow down every request.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, delete, func, insert, or_, select, update

from service.errors import NotFound
from service.storage import ids, moment
from service.storage.database import Database
from service.storage.tables import keys

PREFIX = "nw_"
_BYTES = 32
KeyScope = Literal["read", "submit", "admin"]
"""Each may do what the one before it may: ask; begin and change; take away, and see to the keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is told of a key after it was made."""

    id: str
    name: str
    scope: KeyScope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Held(NamedTuple):
    """A key that opens something."""

    sha256: str
    scope: KeyScope


class Keys:
    """The verbs on keys; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scope: KeyScope, expires_at: datetime | None = None) -> tuple[Key, str]:
        """A new key, and its words, which nobody can ask for again. From the first one on, everybody needs one."""
        words = PREFIX + secrets.token_urlsafe(_BYTES)
        row = {
            "id": ids.new("key"), "name": name, "scope": scope, "sha256": digest(words), "created_at": moment.now(),
            "expires_at": None if expires_at is None else moment.pack(expires_at),
        }  # fmt: skip
        with self._database.write() as connection:
            connection.execute(insert(keys), row)
            made = connection.execute(select(keys).where(keys.c.id == row["id"])).one()
        return _key(made), words

    def list(self) -> tuple[Key, ...]:
        """All that were ever made, oldest first."""
        with self._database.read() as connection:
            return tuple(_key(row) for row in connection.execute(select(keys).order_by(keys.c.key)))

    def revoke(self, id: str) -> Key:
        """It opens nothing any more, within a second; a second time changes nothing. Raises NotFound."""
        with self._database.write() as connection:
            first = func.coalesce(keys.c.revoked_at, moment.now())
            connection.execute(update(keys).where(keys.c.id == id).values(revoked_at=first))
            row = connection.execute(select(keys).where(keys.c.id == id)).one_or_none()
        if row is None:
            raise NotFound(f"no key {id}")
        return _key(row)

    def clear(self) -> int:
        """Forgets every key, also the revoked: nobody needs one any more. Returns how many there were."""
        with self._database.write() as connection:
            return connection.execute(delete(keys)).rowcount

    def held(self) -> tuple[Held, ...] | None:
        """Those that open something now; None when there was never one, and nobody needs any."""
        valid = keys.c.revoked_at.is_(None) & or_(keys.c.expires_at.is_(None), keys.c.expires_at > moment.now())
        with self._database.read() as connection:
            found = tuple(Held(*row) for row in connection.execute(select(keys.c.sha256, keys.c.scope).where(valid)))
            if found or connection.execute(select(keys.c.key).limit(1)).first() is not None:
                return found
        return None


def digest(words: str) -> str:
    """What is kept of a key."""
    return sha256(words.encode()).hexdigest()


def _key(row: Row[Any]) -> Key:
    expires, revoked = moment.unpack(row.expires_at), moment.unpack(row.revoked_at)
    return Key(row.id, row.name, row.scope, moment.unpack(row.created_at), expires, revoked)
