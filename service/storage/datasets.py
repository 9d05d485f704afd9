"""Data sets: immutable, one row per content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from service.errors import Conflict, NotFound
from service.storage import cursor, idempotency, ids, moment, references
from service.storage.database import Database
from service.storage.rows import DatasetRow, Idempotency, Page
from service.storage.tables import datasets


class Datasets:
    """The verbs on data sets; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, *, name: str, kind: str, rows: int, sha256: str, blob: str, bytes: int, description: Mapping[str, Any],
        idempotency_key: Idempotency | None = None,
    ) -> DatasetRow:  # fmt: skip
        """A new data set; or the one that has this content (the sha256 of the upload) already, as it is."""
        with self._database.write() as connection:
            before = idempotency.made(connection, "datasets", idempotency_key)
            if before is not None:
                with idempotency.looked_up("data set"):
                    return _one(connection, before)
            row = connection.execute(select(datasets).where(datasets.c.sha256 == sha256)).one_or_none()
            if row is None:
                row = connection.execute(
                    insert(datasets)
                    .values(
                        id=ids.new("ds"), name=name, kind=kind, rows=rows, sha256=sha256, blob=blob, bytes=bytes,
                        description=dict(description), created_at=moment.now(),
                    )
                    .returning(datasets)
                ).one()  # fmt: skip
            idempotency.keep(connection, "datasets", idempotency_key, row.id)
            return _dataset(row)

    def get(self, dataset_id: str) -> DatasetRow:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _one(connection, dataset_id)

    def find(self, sha256: str) -> DatasetRow | None:
        """The data set with this content, if there is one."""
        with self._database.read() as connection:
            row = connection.execute(select(datasets).where(datasets.c.sha256 == sha256)).one_or_none()
        return None if row is None else _dataset(row)

    def list(
        self, *, kind: str | None = None, name: str | None = None, after: str | None = None, limit: int = 20
    ) -> Page[DatasetRow]:
        """Newest first. Raises InvalidSpec for a cursor that is none."""
        wanted = {datasets.c.kind: kind, datasets.c.name: name}
        query = select(datasets).where(*(column == value for column, value in wanted.items() if value is not None))
        if after is not None:
            query = query.where(datasets.c.key < cursor.decode(after, int)[0])
        with self._database.read() as connection:
            found = connection.execute(query.order_by(datasets.c.key.desc()).limit(limit + 1)).all()
        more = cursor.encode(found[limit - 1].key) if len(found) > limit else None
        return Page(tuple(map(_dataset, found[:limit])), more)

    def delete(self, dataset_id: str) -> None:
        """Its file is left to `Store.collect`. Raises NotFound, Conflict naming the jobs and runs that use it."""
        with self._database.clean() as connection:
            users = references.to_dataset(connection, dataset_id)
            if users:
                raise Conflict(f"the data set is used by {references.words(users)}", hint="Delete those jobs first.")
            if not connection.execute(delete(datasets).where(datasets.c.id == dataset_id)).rowcount:
                raise NotFound(f"no data set {dataset_id}")


def _one(connection: Connection, dataset_id: str) -> DatasetRow:
    row = connection.execute(select(datasets).where(datasets.c.id == dataset_id)).one_or_none()
    if row is None:
        raise NotFound(f"no data set {dataset_id}")
    return _dataset(row)


def _dataset(row: Row[Any]) -> DatasetRow:
    return DatasetRow(
        row.id, row.name, row.kind, row.rows, row.sha256, row.blob, row.bytes, row.description,
        moment.unpack(row.created_at),
    )  # fmt: skip
