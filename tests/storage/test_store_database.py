"""One transaction at a time: waiting for others, giving up in time, going on afterwards, from any thread."""

from __future__ import annotations

import io
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service import storage
from service.errors import InvalidData, InvalidSpec, StorageBusy
from service.storage import Job, Store, database
from service.storage.reserve import Reserve
from service.storage.translate import translated


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores opened from now on wait for others for a twentieth of a second."""
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "busy_timeout=50"))


def holding(folder: Path) -> sqlite3.Connection:
    """Another process that is in the middle of writing."""
    connection = sqlite3.connect(folder / "store.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


@pytest.mark.usefixtures("impatient")
@pytest.mark.sqlite
def test_a_store_held_too_long_says_so_can_be_read_and_goes_on_afterwards(
    store: Store, folder: Path, submit: Callable[..., Job]
) -> None:
    first = submit()
    other = holding(folder)
    for _ in range(2):
        with pytest.raises(StorageBusy):
            submit()
    assert [job.id for job in store.jobs.list().data] == [first.id]
    other.execute("ROLLBACK")
    second = submit()
    assert [job.id for job in store.jobs.list().data] == [second.id, first.id]
    other.close()


@pytest.mark.sqlite
def test_a_writer_waits_for_another_one(store: Store, folder: Path, submit: Callable[..., Job]) -> None:
    other = holding(folder)
    done = threading.Event()

    def write() -> None:
        submit()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not done.wait(0.2)
    other.execute("COMMIT")
    assert done.wait(5)
    thread.join()
    other.close()


@pytest.mark.sqlite
def test_who_does_not_wait_hears_at_once_that_another_writes_and_the_next_one_waits(store: Store, folder: Path) -> None:
    run = store.runs.create_external().id
    given = [(run, {"loss": ([1], [0.5])})]
    other, began_s = holding(folder), time.monotonic()
    with pytest.raises(StorageBusy):
        store.metrics.append_all(given, wait=False)
    assert time.monotonic() - began_s < database.BUSY_S / 2
    thread = threading.Thread(target=store.metrics.append_all, args=(given,))
    thread.start()
    with pytest.raises(StorageBusy):  # whether that thread has its turn already or the other process still writes
        store.metrics.append_all(given, wait=False)
    other.execute("COMMIT")
    other.close()
    thread.join()
    assert store.metrics.append_all([(run, {"loss": ([2], [0.25])})], wait=False) == [True]
    assert store.metrics.series(run)["loss"].values.tolist() == [0.5, 0.25]


def test_what_fails_in_the_middle_leaves_nothing_and_the_next_goes_on(store: Store) -> None:
    def half() -> None:
        with store._database.write() as connection:
            connection.exec_driver_sql("INSERT INTO idempotency VALUES ('s', 'k', 'r', 'i', 1)")
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            half()
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM idempotency").scalar_one() == 0
    assert store.jobs.submit(type="train", spec={}).status == "queued"


@pytest.mark.sqlite
def test_a_commit_that_fails_leaves_nothing_and_the_next_goes_on(store: Store) -> None:
    def dangling() -> None:
        with store._database.write() as connection:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            connection.exec_driver_sql("INSERT INTO run_tags VALUES ('of nobody', 999)")

    for _ in range(2):
        with pytest.raises(sqlite3.IntegrityError):
            dangling()
    run = store.runs.create_external(tags=["of somebody"])
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT tag FROM run_tags").scalars().all() == list(run.tags)


def test_many_threads_use_one_store(store: Store) -> None:
    failed: list[BaseException] = []

    def use(place: int) -> None:
        try:
            for _ in range(10):
                run = store.runs.create_external(name=str(place))
                store.metrics.append(run.id, {"loss": ([1], [place])})
                assert store.runs.get(run.id).summary["loss"]["last"]["value"] == place
                store.events.version()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.runs.list(limit=1000).data) == 80


@pytest.mark.sqlite
def test_readers_are_not_held_up_by_a_writer(store: Store, folder: Path, submit: Callable[..., Job]) -> None:
    job = submit()
    other = holding(folder)
    other.execute("DELETE FROM jobs")
    start = time.monotonic()
    assert store.jobs.get(job.id) == job
    assert time.monotonic() - start < database.BUSY_S
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.sqlite
def test_the_store_is_durable_and_keeps_its_references(store: Store) -> None:
    for transaction in (store._database.read, store._database.write):
        with transaction() as connection:
            said = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in (
                "journal_mode", "synchronous", "foreign_keys", "busy_timeout",
            )}  # fmt: skip
        assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_number_that_json_does_not_know_becomes_null() -> None:
    assert (
        database.dumps({"a": [1.5, math.nan], "b": {"c": math.inf}, "d": "ä"})
        == '{"a":[1.5,null],"b":{"c":null},"d":"ä"}'
    )


@pytest.mark.parametrize(
    ("url", "word"),
    [("nonsense", "URL"), ("mysql://a/b", "mysql"), ("postgresql+nobodys_driver://a/b", "nobodys_driver")],
)
def test_a_url_that_is_no_store_is_refused_with_what_would_be_one(url: str, word: str, folder: Path) -> None:
    with pytest.raises(InvalidSpec, match=word) as caught:
        database.Database(url, Reserve(folder / "reserve"))
    assert "postgresql+psycopg://" in (caught.value.hint or "")


def test_a_database_that_may_not_be_written_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as ours:
        ours.execute("CREATE TABLE kept (x)")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as theirs:
        with pytest.raises(PermissionError, match="readonly database") as refused, translated():
            theirs.execute("INSERT INTO kept VALUES (1)")
        assert refused.value.filename == "the database"
    with pytest.raises(PermissionError, match="unable to open"), translated():
        sqlite3.connect(tmp_path / "nowhere" / "theirs.db")


@pytest.mark.parametrize("made", ["opened", "held", "restored"])
def test_a_new_data_folder_is_its_users_alone_and_one_that_was_there_stays(made: str, tmp_path: Path) -> None:
    kept, before = tmp_path / "above" / "kept", os.umask(0)
    try:
        make(made, kept)
        (ours := tmp_path / "ours").mkdir(0o755)
        make(made, ours)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (kept.parent, kept, ours)]
    assert modes == [0o777, 0o700, 0o755]


def make(how: str, folder: Path) -> None:
    """What needs a data folder, and makes it where it is not there."""
    if how == "opened":
        storage.open(f"sqlite:///{folder / 'store.db'}", folder).close()
    elif how == "held":
        with storage.hold(folder):
            pass
    else:
        with pytest.raises(InvalidData):
            storage.restore(io.BytesIO(b"no backup"), folder)
