"""One transaction at a time, and the only place that knows one kind of database from another.

SQLite: WAL, synchronous=FULL (NORMAL loses acknowledged commits in a power cut), and BEGIN IMMEDIATE for every
transaction that writes, because a deferred one that has read is refused at once when another has written.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from service.clock import monotonic_s
from service.errors import InvalidSpec, StorageBusy, StorageDamaged
from service.storage.pulse import Pulse
from service.storage.reserve import Reserve
from service.storage.translate import AGAIN, translated
from service.storage.url import connected

BUSY_S = 30.0  # the longest wait for another process's transaction
_WRITES, _BY_ITSELF = "writes", "by itself"
_BEGINS = {None: "BEGIN", True: "BEGIN IMMEDIATE", _BY_ITSELF: None}
_BUSY = f"busy_timeout={int(BUSY_S * 1000)}"
_PRAGMAS = (
    "synchronous=FULL", "foreign_keys=ON", _BUSY, "cache_size=-8000", "case_sensitive_like=ON", "secure_delete=FAST",
)  # fmt: skip
_ONE_WRITER = 0x6E657477  # the name of PostgreSQL's advisory lock; with it, ids of events appear in their order


class Database:
    """Opens transactions on one database; may be used from any thread."""

    def __init__(self, url: str, reserve: Reserve) -> None:
        self._engine = connected(url, dumps)
        self.dialect = self._engine.dialect.name
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self.url = url
        self._reserve = reserve
        self._committed: Callable[[float], object] | None = None
        self._watch = threading.Lock()
        self._watching: sqlite3.Cursor | None = None
        self._pulse = Pulse(make_url(url).database or "") if self.dialect == "sqlite" else None
        self._turn = threading.Lock()  # one writer within the process; between processes SQLite takes turns
        self._writing: Connection | None = None
        self._waits = True  # whether the writing connection waits for other processes
        (_for_sqlite if self.dialect == "sqlite" else _for_postgresql)(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; waits for nobody."""
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, wait: bool = True) -> Iterator[Connection]:
        """All or nothing, durable when it returns. Raises StorageFull, and StorageBusy: at once, without `wait`."""
        if not self._turn.acquire(blocking=wait):
            raise StorageBusy("the store is busy", hint=AGAIN)
        try:
            with translated():
                connection = self._writing or self._connected()
                self._wait_for_others(connection, wait)
                with self._transaction(connection):
                    yield connection
                    began_s = monotonic_s()
        finally:
            self._turn.release()
        if self._committed is not None:
            self._committed(monotonic_s() - began_s)

    def _connected(self) -> Connection:
        connection = self._writer.connect()
        if self.dialect == "sqlite":
            connection = connection.execution_options(**{_WRITES: _BY_ITSELF})
            connection.begin()
        self._writing = connection
        return connection

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        """SQLite's are begun and ended by the driver: to SQLAlchemy they cost more than to the database."""
        if self.dialect != "sqlite":
            with connection.begin():
                yield
            return
        driver = connection.connection
        driver.cursor().execute("BEGIN IMMEDIATE")
        try:
            yield
            driver.commit()
        except BaseException:
            driver.rollback()
            raise

    def _wait_for_others(self, writing: Connection, wait: bool) -> None:
        if not wait and self.dialect != "sqlite":
            raise StorageBusy("a database behind a network is always waited for", hint=AGAIN)
        if wait != self._waits:
            writing.connection.cursor().execute(f"PRAGMA {_BUSY if wait else 'busy_timeout=0'}")
            self._waits = wait

    def time_commits(self, committed: Callable[[float], object]) -> None:
        """From now on `committed` hears how many seconds each commit took."""
        self._committed = committed

    @contextmanager
    def clean(self) -> Iterator[Connection]:
        """The same for a verb that makes room: on a full disk the reserve is given for it."""
        self._reserve.give()
        with self.write() as connection:
            yield connection

    @contextmanager
    def remake(self) -> Iterator[Connection]:
        """The same for migrations, where tables are dropped and made anew without what refers to them being touched."""
        with self._turn, translated(), self._writer.connect() as connection:
            self._foreign_keys(connection, "OFF")
            try:
                with connection.begin():
                    yield connection
            finally:
                self._foreign_keys(connection, "ON")

    def _foreign_keys(self, connection: Connection, state: str) -> None:
        if self.dialect == "sqlite":
            connection.connection.cursor().execute(f"PRAGMA foreign_keys={state}")

    def exists(self) -> bool:
        """Whether there is one at all; looking makes none."""
        return self.dialect != "sqlite" or Path(make_url(self.url).database or "").is_file()

    def prepare(self) -> None:
        """Settings that the database keeps; called by one process at a time. Raises PermissionError."""
        if self.dialect == "sqlite":
            name = make_url(self.url).database or ""
            if self.exists() and not os.access(name, os.W_OK):  # it would be found by the first who writes
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            with translated(), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode=WAL")

    def copy(self, path: Path) -> None:
        """Writes the database of this moment as one file; those who write need not wait. Raises InvalidSpec."""
        if self.dialect != "sqlite":
            raise InvalidSpec(f"the store is in {self.dialect}", hint="Its own tools back it up: pg_dump, for one.")
        with translated(), self._engine.connect() as connection, closing(sqlite3.connect(path)) as copy:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # else it would be more than one file

    def damage(self) -> list[str]:
        """What the database finds wrong with its own pages, in its own words. PostgreSQL sees to that by itself."""
        if self.dialect != "sqlite":
            return []
        try:
            with self.read() as connection:
                found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        except StorageDamaged as error:
            return [str(error.__cause__)]
        return [] if found == ["ok"] else [str(each) for each in found]

    def dangling(self, connection: Connection) -> list[tuple[str, str]]:
        """Rows whose foreign key leads nowhere: (which row, in words what it needs). PostgreSQL has none."""
        if self.dialect != "sqlite":
            return []
        rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        return [(f"{table} {row}", f"its row of {parent} is not there") for table, row, parent, _ in rows]

    def version(self) -> int:
        """Another number after any commit by any other connection."""
        if self._pulse is not None:
            return self._pulse.version()
        with self.read() as connection:
            return int(connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM events").scalar_one())

    def look(self, statement: Prepared, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of one query, as it finds them at one moment, without the cost of a transaction."""
        if self.dialect != "sqlite":
            with self.read() as connection:
                return statement(connection, values)
        with self._watch, translated():
            return statement.run(self._watcher(), self._engine.dialect, values)

    def _watcher(self) -> sqlite3.Cursor:
        if self._watching is None:
            name = make_url(self.url).database or ""
            self._watching = sqlite3.connect(name, check_same_thread=False, isolation_level=None).cursor()
        return self._watching

    def close(self) -> None:
        with self._turn:
            if self._writing is not None:
                self._writing.close()
                self._writing, self._waits = None, True
        self._engine.dispose()
        if self._watching is not None:
            self._watching.connection.close()
        if self._pulse is not None:
            self._pulse.close()


class Prepared:
    """A statement compiled once and run by the driver itself, for the few that every report of a worker runs.

    It takes a third of the time, but converts nothing: it is for numbers, texts and bytes.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, Sequence[str] | None, Mapping[str, Any]]] = {}

    def __call__(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that it returns, if it does."""
        return self.run(connection.connection.cursor(), connection.dialect, values)

    def run(
        self, cursor: DBAPICursor | sqlite3.Cursor, dialect: Dialect, values: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """The same by a cursor of the driver's."""
        text, order, constants = self._compiled.get(dialect.name) or self._compile(dialect)
        every = {**constants, **values} if constants else values
        cursor.execute(text, every if order is None else list(map(every.__getitem__, order)))
        return list(cursor.fetchall()) if cursor.description else []

    def _compile(self, dialect: Dialect) -> tuple[str, Sequence[str] | None, Mapping[str, Any]]:
        compiled = self._statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._compiled[dialect.name] = made = str(compiled), compiled.positiontup, constants
        return made


def _for_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # the transactions are ours to begin
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        begins = _BEGINS[connection.get_execution_options().get(_WRITES)]
        if begins is not None:
            connection.connection.cursor().execute(begins)


def _for_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")


def dumps(value: object) -> str:
    """Strict JSON: a number that JSON does not know becomes null, as everywhere outside the metrics."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
