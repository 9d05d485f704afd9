"""The store's figures: packed blocks against raw rows, charts, lists of many runs, and what a worker's report costs.

Rows are what a plain program would write: sqlite3's executemany into a table without rowid, one transaction a batch.
Both sides have the same journal and the same `synchronous`: FULL, which loses nothing acknowledged in a power cut, and
which costs nothing on a tmpfs, leaving the code alone; or NORMAL, which waits for the disk at checkpoints only.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from service import clock, storage
from service.storage import Owner, Report, Store
from service.storage.tables import run_tags, runs, series

pytestmark = pytest.mark.benchmark
POINTS, BATCH = 1_000_000, 1_000
MEMORY = Path("/dev/shm")  # a tmpfs on any Linux


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The least of several times; the first call is not counted when there are several."""
    if times > 1:
        work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def each(work: Callable[[Any], None], pieces: list[Any]) -> None:
    for piece in pieces:
        work(piece)


def curve() -> tuple[Any, Any, Any]:
    """Steps, float32 losses and times as a run of 1,000,000 logged steps has them."""
    rng = np.random.default_rng(0)
    steps = np.arange(POINTS) * 10
    values = (2 * np.exp(-steps / 5e5) + 0.1 * rng.standard_normal(POINTS)).astype(np.float32).astype(np.float64)
    return steps, values, 1_700_000_000_000 + np.cumsum(rng.integers(8, 12, POINTS))


class Both:
    """The same points in both forms."""

    def __init__(self, folder: Path, synchronous: str = "FULL") -> None:
        self.folder = folder
        self.rows = sqlite3.connect(folder / "rows.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}"):
            self.rows.execute(f"PRAGMA {pragma}")
        self.rows.execute(
            "CREATE TABLE points (run INTEGER, key TEXT, step INTEGER, time REAL, value REAL,"
            " PRIMARY KEY (run, key, step)) WITHOUT ROWID"
        )
        self.store = storage.open(f"sqlite:///{folder / 'store.db'}", folder)
        self.run = self.store.runs.create_external().id
        writing = self.store._database._writing
        assert writing is not None
        writing.connection.cursor().execute(f"PRAGMA synchronous={synchronous}")
        steps, values, times = curve()
        cuts = [slice(start, start + BATCH) for start in range(0, POINTS, BATCH)]
        as_rows = [
            [
                (1, "loss", *row)
                for row in zip(steps[cut].tolist(), (times[cut] / 1e3).tolist(), values[cut].tolist(), strict=True)
            ]
            for cut in cuts
        ]
        self.rows_s = seconds(lambda: each(self.insert, as_rows))
        as_columns = [{"loss": (steps[cut], values[cut], times[cut])} for cut in cuts]
        self.store_s = seconds(lambda: each(lambda columns: self.store.metrics.append(self.run, columns), as_columns))

    def insert(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows.execute("BEGIN IMMEDIATE")
        self.rows.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", rows)
        self.rows.execute("COMMIT")

    def close(self) -> None:
        self.rows.close()
        self.store.close()


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    both = Both(tmp_path_factory.mktemp("disk"))
    yield both
    both.close()


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Both]:
    if not MEMORY.is_dir():
        pytest.skip("needs a tmpfs at /dev/shm")
    with TemporaryDirectory(dir=MEMORY) as folder:
        both = Both(Path(folder))
        yield both
        both.close()


@pytest.fixture(scope="module")
def unsynced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    both = Both(tmp_path_factory.mktemp("unsynced"), "NORMAL")
    yield both
    both.close()


def test_inserting_blocks_against_inserting_rows(in_memory: Both, unsynced: Both, on_disk: Both) -> None:
    each_place = {
        "code alone": in_memory,
        "on disk, synchronous=NORMAL": unsynced,
        "on disk, synchronous=FULL": on_disk,
    }
    for place, both in each_place.items():
        rows, ours = POINTS / both.rows_s, POINTS / both.store_s
        print(f"\ninsert, {place}: rows {rows:,.0f}/s, store {ours:,.0f}/s, {ours / rows:.2f} x")
    assert in_memory.rows_s / in_memory.store_s >= 4
    assert on_disk.rows_s > on_disk.store_s  # how much is the disk's to say


def test_reading_a_million_points(on_disk: Both) -> None:
    def read_rows() -> object:
        return on_disk.rows.execute("SELECT step, time, value FROM points WHERE run = 1 ORDER BY step").fetchall()

    rows_s, store_s = seconds(read_rows, 3), seconds(lambda: on_disk.store.metrics.series(on_disk.run), 7)
    print(
        f"\nread 1,000,000 points: rows {rows_s * 1e3:.0f} ms, store {store_s * 1e3:.1f} ms, {rows_s / store_s:.1f} x"
    )
    assert rows_s / store_s >= 15


def test_a_chart_of_a_million_points(on_disk: Both) -> None:
    def draw() -> object:
        return on_disk.store.metrics.series(on_disk.run, max_points=2224)

    taken = seconds(draw, 50)
    print(f"\nchart of 1,000 buckets (minimum and maximum) of 1,000,000 points: {taken * 1e3:.2f} ms")
    assert taken <= 0.002


def test_bytes_a_point(tmp_path: Path) -> None:
    """Of a store with points against the same store without any, and against one without runs."""

    def size(count: int, points: int, *, end: bool) -> int:
        folder = tmp_path / f"{count}-{points}-{end}"
        store = storage.open(f"sqlite:///{folder / 'store.db'}", folder)
        steps, values, times = (column[:points] for column in curve())
        for name in range(count):
            run = store.runs.create_external().id
            store.metrics.append(run, {f"loss_{name}": (steps, values, times)} if points else {})
            if end:
                store.runs.end_external(run, "succeeded")
        store.close()
        compact = sqlite3.connect(folder / "store.db")
        compact.execute("VACUUM")
        compact.close()
        return (folder / "store.db").stat().st_size

    empty = size(0, 0, end=False)
    for what, count, points, end, most in (
        ("live", 1000, 1000, False, 25), ("ended", 1000, 1000, True, 25), ("long", 1, POINTS, True, 8),
    ):  # fmt: skip
        with_points, without = size(count, points, end=end), size(count, 0, end=end)
        n = count * points
        alone, together = (with_points - without) / n, (with_points - empty) / n
        print(f"\nbytes a point, {what}: {alone:.2f}, with the runs, their events and indexes {together:.2f}", end="")
        assert alone <= most


def filled(folder: Path, count: int) -> Store:
    """Runs with eight metrics each, as after months of use."""
    store, rng = storage.open(f"sqlite:///{folder / 'store.db'}", folder), random.Random(0)
    spec = {
        "network": {"layers": [{"kind": "dense", "units": 128, "activation": "relu"}] * 4},
        "training": {"epochs": 5},
    }
    metrics = [f"{part}_{what}" for part in ("train", "val", "test", "batch") for what in ("loss", "accuracy")]
    for start in range(1, count + 1, 5000):
        keys = range(start, min(start + 5000, count + 1))
        rows = [
            {"key": key, "id": f"run_{key}", "type": "train", "status": rng.choice(["succeeded"] * 9 + ["failed"]),
             "urgency": 0, "place": key, "token": 1, "attempt": 1, "losses": 0, "cpus": 1, "memory_bytes": 0,
             "revision": 1, "step": 5, "created_at": key, "notes": "", "tags": [], "spec": spec, "report": {}}
            for key in keys
        ]  # fmt: skip
        values = [
            {"run_key": key, "name": name, "n": 5, "nonfinite": 0, "first_step": 1, "last_step": 5, "min_step": 1,
             "max_step": 5, "first": 0.5, "last": rng.random(), "min": rng.random() / 2, "max": rng.random(),
             "sum": 1.0, "tail_n": 5, "tail": bytes(120)}
            for key in keys for name in metrics
        ]  # fmt: skip
        with store._database.write() as connection:
            connection.execute(insert(runs), rows)
            connection.execute(insert(series), values)
            connection.execute(insert(run_tags), [{"tag": f"t{key % 100}", "run_key": key} for key in keys])
    return store


@pytest.mark.parametrize(("count", "limit_s"), [(10_000, 0.010), (100_000, 0.030)])
def test_listing_many_runs_by_their_best_value(count: int, limit_s: float, tmp_path: Path) -> None:
    store = filled(tmp_path, count)
    questions: dict[str, dict[str, Any]] = {
        "best": {"sort": "-best.val_accuracy"},
        "best of succeeded": {"sort": "-best.val_accuracy", "status": "succeeded"},
        "best of failed": {"sort": "-best.val_accuracy", "status": "failed"},
        "best of a tag": {"sort": "best.val_loss", "tag": "t7"}, "last": {"sort": "-last.val_loss"}, "newest": {},
    }  # fmt: skip
    for what, given in questions.items():
        store.runs.list(**given)
        taken = []
        for _ in range(11):
            start = time.perf_counter()
            page = store.runs.list(**given)
            taken.append(time.perf_counter() - start)
            assert len(page.data) == 20
        print(f"\n{count:,} runs, {what}: p50 {median(taken) * 1e3:.1f} ms", end="")
        assert median(taken) <= limit_s
    store.close()


def test_what_a_report_and_the_verbs_around_it_cost(tmp_path: Path) -> None:
    store = storage.open(f"sqlite:///{tmp_path / 'store.db'}", tmp_path)
    owner, attempts = Owner(1, "1", clock.boot_id()), []
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "rows_per_s", "epoch"]

    def p50(what: str, verb: Callable[[int], object]) -> None:
        taken = []
        for place in range(200):
            start = time.perf_counter()
            verb(place)
            taken.append(time.perf_counter() - start)
        print(f"\n{what}: p50 {median(taken) * 1e3:.2f} ms", end="")

    p50("submit", lambda _: store.jobs.submit(type="train", spec={"seed": list(range(100))}, tags=["x"]))
    p50("claim", lambda _: attempts.append(store.runs.claim(owner, 10)))
    first = attempts[0]
    assert first is not None
    epoch = [
        Report({name: ([step], [0.1]) for name in names}, (("epoch", {"epoch": step}),), step) for step in range(200)
    ]
    p50("report of an epoch: 7 series, 1 event", lambda step: store.runs.report(first, epoch[step]))
    steps = [Report({"batch_loss": (np.arange(20) + place * 20, np.ones(20))}) for place in range(200)]
    p50("report of 20 steps", lambda place: store.runs.report(first, steps[place]))
    p50("renew", lambda _: store.runs.renew(first))
    p50("finish", lambda place: store.runs.finish(attempts[place] or first, "succeeded"))
    p50("get a run", lambda _: store.runs.get(first.run_id))
    p50("events after a cursor", lambda _: store.events.after(100, run_id=first.run_id))
    p50("version", lambda _: store.events.version())
    store.close()
