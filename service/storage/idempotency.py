"""A creating request that comes twice creates once: its key lies in the same transaction as what it made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, delete, insert, select

from service.errors import Conflict, Fault, InvalidSpec, NotFound
from service.storage import moment
from service.storage.rows import Idempotency
from service.storage.tables import idempotency

KEPT_S = 7 * 24 * 3600  # a week; who has not had an answer by then does not try again


def made(connection: Connection, scope: str, given: Idempotency | None) -> str | None:
    """The id that an earlier request with this key made. Raises InvalidSpec when that request was another one."""
    if given is None:
        return None
    row = connection.execute(
        select(idempotency.c.request_sha256, idempotency.c.resource_id).where(
            idempotency.c.scope == scope, idempotency.c.key == given.key
        )
    ).one_or_none()
    if row is None:
        return None
    check(given, row.request_sha256)
    return str(row.resource_id)


def check(given: Idempotency, request_sha256: str | None) -> None:
    """Raises InvalidSpec when the request that came with this key before was another one."""
    if request_sha256 != given.request_sha256:
        message = "this Idempotency-Key was used for another request"
        raise InvalidSpec(message, faults=[Fault("", "idempotency_mismatch", message, "Choose a new key.")])


@contextmanager
def looked_up(what: str) -> Iterator[None]:
    """Around reading what `made` names. Raises Conflict when that has been deleted since."""
    try:
        yield
    except NotFound as error:
        message = f"the {what} made with this Idempotency-Key has been deleted"
        raise Conflict(message, hint="Choose a new key.") from error


def keep(connection: Connection, scope: str, given: Idempotency | None, resource_id: str) -> None:
    """Remembers what the request made."""
    if given is not None:
        connection.execute(
            insert(idempotency).values(
                scope=scope,
                key=given.key,
                request_sha256=given.request_sha256,
                resource_id=resource_id,
                created_at=moment.now(),
            )
        )


def expire(connection: Connection) -> None:
    """Forgets keys that are too old to be sent again; what they made stays."""
    connection.execute(delete(idempotency).where(idempotency.c.created_at < moment.now() - KEPT_S * 1_000_000))
