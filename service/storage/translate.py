"""What a database's driver raises, in the words of the house."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DatabaseError

from service.errors import InvalidSpec, StorageBusy, StorageDamaged, StorageFull

AGAIN = "Try again in a moment."
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_NUL = "cannot contain NUL"  # as psycopg says it
_CLOSED = ("SQLITE_CANTOPEN", "SQLITE_READONLY")


@contextmanager
def translated() -> Iterator[None]:
    """Around every use of a driver.

    Raises StorageBusy, StorageDamaged, StorageFull, PermissionError, and InvalidSpec for a text that it does not hold.
    """
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        driver = getattr(error, "orig", None) or error
        name = getattr(driver, "sqlite_errorname", "")
        if _NUL in str(driver):
            raise InvalidSpec("the character NUL is no text to PostgreSQL") from error
        if name.startswith("SQLITE_BUSY"):
            raise StorageBusy("the store is busy", hint=AGAIN) from error
        if name.startswith(_CLOSED):
            raise PermissionError(errno.EACCES, str(driver), "the database") from error
        if name in _DAMAGED:
            hint = "`netwright check` says more; `netwright restore --replace` puts a backup in its place."
            raise StorageDamaged("the database is damaged", hint=hint) from driver
        if name in _FULL:
            raise StorageFull("the disk is full", hint="Delete data sets or jobs, or make room on the disk.") from error
        raise
