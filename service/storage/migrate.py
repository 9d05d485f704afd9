"""Brings the schema up to date at open; whether there is anything to do is one SELECT, without Alembic."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

import service
from service.errors import ServiceError
from service.storage.database import Database
from service.storage.tables import metadata

HEAD = "0005"  # the newest revision in migrations/versions; a test holds the two together
FOLDER = Path(service.__file__).resolve().parent.parent / "migrations"  # in a checkout and in an installed package

LOCK = "open.lock"
_VERSION_TABLE = (  # as Alembic makes it
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def migrate(database: Database, data_dir: Path) -> None:
    """Makes or upgrades the tables, one process at a time. Raises ServiceError for a newer store."""
    with _alone(data_dir):
        database.prepare()
        if _revision(database) == HEAD:
            return
        with database.remake() as connection:
            found = _stamp(connection)
            if found is None:
                _create(connection)
            elif found != HEAD:
                _upgrade(connection, found)


def require(database: Database) -> None:
    """Raises ServiceError unless the tables are today's; nothing is made or changed."""
    found = _revision(database)
    if found != HEAD:
        message = f"the store is of another version of this program (its revision is {found}, here it is {HEAD})"
        raise ServiceError(message, hint="Use that version; or start this one's server once, which upgrades the store.")


def _revision(database: Database) -> str | None:
    with database.read() as connection:
        return _stamp(connection)


def _stamp(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return str(found or "")


def _create(connection: Connection) -> None:
    """An empty database gets today's tables at once; that the migrations lead to the same ones is a test."""
    metadata.create_all(connection)
    connection.exec_driver_sql(_VERSION_TABLE)
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, found: str) -> None:
    from alembic import command, config, script, util  # noqa: PLC0415 - 0.4 s that a start should not pay

    settings = config.Config()
    settings.set_main_option("script_location", str(FOLDER))
    settings.attributes["connection"] = connection
    try:
        script.ScriptDirectory.from_config(settings).get_revision(found or "base")
    except util.CommandError as error:
        message = f"the store was written by a newer version of this program (its revision {found} is unknown here)"
        raise ServiceError(message, hint="Install that version again, or use another data folder.") from error
    command.upgrade(settings, "head")


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Other processes that open the same folder wait; the kernel lets go when this one dies."""
    with open(data_dir / LOCK, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
