"""Who wants to hear that a job has ended: a row from the submit on, due by the transaction that ends the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from service.errors import NotFound
from service.storage import ids, moment
from service.storage.database import Database
from service.storage.rows import Delivery, Webhook
from service.storage.tables import webhooks

_DUE = (
    select(webhooks.c.id, webhooks.c.job_id, webhooks.c.url, webhooks.c.secret, webhooks.c.attempts)
    .where(webhooks.c.due_at <= bindparam("now"))
    .order_by(webhooks.c.due_at)
    .limit(bindparam("most"))
)
_RELEASED = update(webhooks).where(webhooks.c.job_id == bindparam("of_job")).values(due_at=bindparam("at"))
_MICROSECONDS = 1_000_000


class Webhooks:
    """The verbs on webhooks; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Webhook:
        """Raises NotFound when nobody wants to hear of the job, or there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(webhooks).where(webhooks.c.job_id == job_id)).one_or_none()
        if row is None:
            raise NotFound(f"job {job_id} has no webhook")
        status = row.outcome or ("waiting" if row.due_at is None else "due")
        return Webhook(
            row.id, row.job_id, row.url, row.secret is not None, status, row.attempts, row.answer, row.words,
            moment.unpack(row.due_at), moment.unpack(row.settled_at),
        )  # fmt: skip

    def due(self, limit: int = 100) -> tuple[Delivery, ...]:
        """What is to be told now, longest due first."""
        with self._database.read() as connection:
            return tuple(Delivery(*row) for row in connection.execute(_DUE, {"now": moment.now(), "most": limit}))

    def next_due_s(self) -> float | None:
        """Seconds since 1970 when the next one is due; None when there is none."""
        with self._database.read() as connection:
            at = connection.execute(select(func.min(webhooks.c.due_at))).scalar_one()
        return None if at is None else at / _MICROSECONDS

    def delivered(self, id: str, status: int) -> None:
        """It was heard."""
        self._settle(id, outcome="delivered", answer=status, words=None, due_at=None, settled_at=moment.now())

    def failed(self, id: str, status: int | None, words: str, retry_s: float | None) -> None:
        """It was not heard; it is due again in `retry_s`, or given up."""
        at = moment.now()
        settled = {"outcome": "failed", "due_at": None, "settled_at": at}
        again = settled if retry_s is None else {"due_at": at + int(retry_s * _MICROSECONDS)}
        self._settle(id, answer=status, words=words[:500], **again)

    def _settle(self, id: str, **columns: Any) -> None:
        values = {"attempts": webhooks.c.attempts + 1, **columns}
        with self._database.write() as connection:
            connection.execute(update(webhooks).where(webhooks.c.id == id).values(values))


def keep(connection: Connection, job_id: str, wanted: Mapping[str, Any] | None) -> None:
    """In the transaction that submits the job: {url, secret}."""
    if wanted is not None:
        row = {"id": ids.new("msg"), "job_id": job_id, "url": wanted["url"], "secret": wanted["secret"], "attempts": 0}
        connection.execute(insert(webhooks), row)


def release(connection: Connection, job_id: str, at: int) -> None:
    """In the transaction that ends the job."""
    connection.execute(_RELEASED, {"of_job": job_id, "at": at})
