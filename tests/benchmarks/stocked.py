"""A store with many ended runs in it, made quickly: one real life, copied by the database itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from service import clock, storage
from service.storage import Checkpoint, Owner, Report


def stocked(folder: Path, runs: int) -> None:
    """Fills a new folder with so many runs, each with its job, attempt, checkpoint row, series and seven events."""
    _one_life(folder)
    database = sqlite3.connect(folder / "netwright.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    for table in ("jobs", "runs", "transitions", "attempts", "checkpoints", "series", "events") if runs > 1 else ():
        names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        values = {name: value for name in names if (value := _copied(table, name)) is not None}
        database.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {runs - 1}) "  # noqa: S608
            f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {table} AS one, n"
        )
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _copied(table: str, column: str) -> str | None:
    """What the copy number i of the only run has in a column; None leaves it to the database."""
    if column in ("run_id", "job_id") or (column == "id" and table in ("jobs", "runs")):
        return f"one.{column} || i"
    if (table, column) == ("runs", "place"):
        return "one.place + i"
    if column in ("job_key", "run_key"):
        return f"one.{column} + i"
    if column == "key" and table in ("jobs", "runs"):
        return "one.key + i"
    if column == "key" or (table, column) == ("events", "id"):
        return None
    return f"one.{column}"


def _one_life(folder: Path) -> None:
    store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
    store.jobs.submit(type="train", spec={"seed": 1})
    attempt = store.runs.claim(Owner(1, "", clock.boot_id()), 10.0)
    assert attempt is not None
    blob = store.blobs.put({"w": np.ones(1000)}, {})
    point = Checkpoint(attempt.run_id, 100, "model", blob.sha256, blob.bytes, "", 0, clock.now())
    series = {"train_loss": (np.arange(100), np.arange(100.0)), "val_loss": (np.arange(10), np.arange(10.0))}
    told: tuple[tuple[str, dict[str, int]], ...] = (
        ("epoch", {"epoch": 1}),
        ("epoch", {"epoch": 2}),
        ("improved", {"step": 100}),
        ("training", {}),
    )
    store.runs.report(attempt, Report(series=series, events=told, checkpoints=(point,)))
    store.runs.finish(attempt, "succeeded")
    store.close()
