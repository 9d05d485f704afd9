"""Whether anything was committed to a SQLite file: SQLite is asked only when its index of the WAL has changed."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

_HEAD_BYTES = 96  # both copies of the index's header; every commit writes another one (sqlite.org/walformat.html, 2.1)


class Pulse:
    """A number that is another one after any commit by any process. May be asked from any thread."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cursor: sqlite3.Cursor | None = None
        self._index: int | None = None
        self._head, self._version = b"", 0

    def version(self) -> int:
        """Costs a microsecond while nothing is committed."""
        with self._lock:
            head = b"" if self._index is None else os.pread(self._index, _HEAD_BYTES, 0)  # before SQLite is asked
            if not head or head != self._head:
                self._version, self._head = self._asked(), head
            return self._version

    def _asked(self) -> int:
        if self._cursor is None:
            connection = sqlite3.connect(self._database, check_same_thread=False, isolation_level=None)
            self._cursor = connection.cursor()
        found: int = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        if self._index is None and self._cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            self._index = os.open(Path(self._database).resolve().as_posix() + "-shm", os.O_RDONLY | os.O_CLOEXEC)
        return found

    def close(self) -> None:
        """To be called when every other connection of the store is closed.

        To close any descriptor of a file drops all locks that this process has on it (POSIX), those of SQLite too. So
        ours stays open for good when somebody still uses the file; when we were the last, SQLite has removed it.
        """
        with self._lock:
            if self._cursor is not None:
                self._cursor.connection.close()
            if self._index is not None and os.fstat(self._index).st_nlink == 0:
                os.close(self._index)
            self._index = None
