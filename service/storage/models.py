"""Models by name: numbered versions, each at a run's weights, and aliases that move and remember."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, select

from service.errors import Conflict, Fault, InvalidSpec, NotFound
from service.storage import aliases, cursor, idempotency, ids, moment, references, resolution
from service.storage.database import Database
from service.storage.rows import AliasMove, Idempotency, ModelVersion, Page, Resolved
from service.storage.tables import model_versions

_NAME = re.compile(r"(?!run_)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOVE_THEM = 'Move those aliases first, or take them away: PUT .../aliases/{alias} {"version": null}.'
_ALIAS = re.compile(r"(?!latest$)[A-Za-z][A-Za-z0-9._-]{0,99}")


class Models:
    """The verbs on models; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_version(
        self, name: str, run_id: str, *, note: str = "", idempotency_key: Idempotency | None = None
    ) -> ModelVersion:
        """The next version of `name`, at the run's best weights. Raises NotFound, Conflict when it has none yet."""
        _check(_NAME, name, "/name", "letters, digits, . _ - and not run_ at its head")
        with self._database.write() as connection:
            before = idempotency.made(connection, f"models/{name}", idempotency_key)
            if before is not None:
                with idempotency.looked_up("version"):
                    return _version(resolution.version(connection, name, int(before)))
            blob = resolution.of_run(connection, run_id, run_id, latest=False).blob
            of_name = select(func.coalesce(func.max(model_versions.c.version), 0) + 1).where(
                model_versions.c.name == name
            )
            row = connection.execute(
                insert(model_versions)
                .values(
                    name=name, version=connection.execute(of_name).scalar_one(), run_id=run_id, blob=blob, note=note,
                    created_at=moment.now(),
                )
                .returning(model_versions)
            ).one()  # fmt: skip
            idempotency.keep(connection, f"models/{name}", idempotency_key, str(row.version))
            return _version(row)

    def list(self, *, after: str | None = None, limit: int = 20) -> Page[ModelVersion]:
        """The newest version of every model, by name."""
        newest = select(func.max(model_versions.c.key)).group_by(model_versions.c.name)
        query = select(model_versions).where(model_versions.c.key.in_(newest))
        if after is not None:
            query = query.where(model_versions.c.name > cursor.decode(after, str)[0])
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(model_versions.c.name).limit(limit + 1)).all()
        more = cursor.encode(rows[limit - 1].name) if len(rows) > limit else None
        return Page(tuple(map(_version, rows[:limit])), more)

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """All versions of one model, newest first. Raises NotFound."""
        with self._database.read() as connection:
            query = select(model_versions).where(model_versions.c.name == name)
            rows = connection.execute(query.order_by(model_versions.c.version.desc())).all()
        if not rows:
            raise ids.absent("model", name)
        return tuple(map(_version, rows))

    def delete(self, name: str, version: int | None = None) -> None:
        """Forgets a version, or the model with all of them; the runs stay. Raises NotFound, Conflict.

        What an alias points at stays. So does the newest version unless the whole model goes: a number that was given
        never means another version.
        """
        with self._database.clean() as connection:
            newest = resolution.version(connection, name, None).version
            gone = resolution.version(connection, name, version).version if version is not None else None
            pointing = [alias for alias, at in aliases.pointing(connection, name).items() if gone in (None, at)]
            if pointing:
                users = references.words([f"{name}@{alias}" for alias in pointing])
                raise Conflict(f"{name if gone is None else f'{name}:{gone}'} is used by {users}", hint=_MOVE_THEM)
            if gone == newest:
                hint = "Add a version first, or delete the whole model."
                raise Conflict(f"{name}:{gone} is the newest version: its number would be given again", hint=hint)
            if gone is None:
                aliases.forget(connection, name)
            chosen = model_versions.c.name == name
            chosen = chosen if gone is None else and_(chosen, model_versions.c.version == gone)
            connection.execute(delete(model_versions).where(chosen))

    def set_alias(self, name: str, alias: str, version: int | None, *, expected: int | None = None) -> AliasMove:
        """Points an alias at a version, or takes it away (None).

        `expected`: the revision of its last move as the caller knows it, 0 when it points nowhere. Raises NotFound,
        PreconditionFailed when it has moved since.
        """
        _check(_ALIAS, alias, "/alias", "a letter first, then letters, digits, . _ -, and not 'latest'")
        with self._database.write() as connection:
            if version is not None:
                resolution.version(connection, name, version)
            return aliases.move(connection, name, alias, version, expected)

    def roll_back(self, name: str, alias: str, *, expected: int | None = None) -> AliasMove:
        """Points an alias where it pointed before its last move. Raises NotFound, Conflict, PreconditionFailed."""
        with self._database.write() as connection:
            before = aliases.before(connection, name, alias)
            if before is None:
                raise Conflict(f"{name}@{alias} never pointed anywhere else")
            try:
                resolution.version(connection, name, before)
            except NotFound as error:
                raise Conflict(f"{name}:{before}, where {name}@{alias} pointed before, was deleted") from error
            return aliases.move(connection, name, alias, before, expected)

    def aliases(self, name: str) -> dict[str, int]:
        """Where each alias points now."""
        with self._database.read() as connection:
            return aliases.pointing(connection, name)

    def alias_history(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """Every move, oldest first."""
        with self._database.read() as connection:
            return aliases.history(connection, name, alias)

    def resolve(self, ref: str) -> Resolved:
        """What `name`, `name:3`, `name@alias`, `run_...` (best weights) or `run_...@latest` means now.

        Of a run still training the latest is its newest checkpoint; of one that has ended, the same as the best.

        Raises NotFound; Conflict when the run has published no weights yet.
        """
        with self._database.read() as connection:
            return resolution.resolve(connection, ref)


def _check(pattern: re.Pattern[str], word: str, pointer: str, allowed: str) -> None:
    if not pattern.fullmatch(word):
        message = f"{word[:100]!r} cannot be a name here"
        raise InvalidSpec(message, faults=[Fault(pointer, "invalid_name", message, allowed)])


def _version(row: Row[Any]) -> ModelVersion:
    return ModelVersion(row.name, row.version, row.run_id, row.blob, moment.unpack(row.created_at), row.note)
