"""The check finds what is missing, damaged or contradicts itself, and nothing where all is well."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.storage import Attempt, Checkpoint, Job, Report, Store

pytestmark = pytest.mark.sqlite


@pytest.fixture
def run(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Callable[..., Checkpoint]
) -> str:
    """A run that trains, with a series, two checkpoints, and a model with an alias."""
    submit()
    attempt = claim()
    steps = np.arange(3000)
    report = Report(
        series={"loss": (steps, steps * 1.0)},
        checkpoints=(publish(attempt.run_id, 1, "state"), publish(attempt.run_id, 1)),
    )
    store.runs.report(attempt, report)
    store.models.add_version("m", attempt.run_id)
    store.models.set_alias("m", "best", 1)
    return attempt.run_id


def found(store: Store) -> set[tuple[str, str]]:
    return {(each.code, each.where) for each in store.check().findings}


def spoil(folder: Path, *statements: str) -> None:
    """Changes rows as nothing in the house does."""
    connection = sqlite3.connect(folder / "store.db")
    connection.executescript(";".join(statements))
    connection.close()


@pytest.mark.usefixtures("run")
def test_a_sound_store_has_no_findings(store: Store) -> None:
    checkup = store.check()
    assert checkup.sound
    assert (checkup.runs, checkup.files, checkup.unused_files) == (1, 2, 0)
    assert checkup.bytes == sum(store.blobs.size(each) for each in store.blobs.every())


def test_a_file_that_nobody_needs_is_counted_but_no_finding(store: Store) -> None:
    store.blobs.put_bytes(b"unused")
    checkup = store.check()
    assert checkup.sound
    assert (checkup.unused_files, checkup.unused_bytes) == (1, 6)


def test_a_missing_and_a_damaged_file_are_found_with_what_needs_them(store: Store, run: str) -> None:
    state, model = (store.runs.checkpoints(run, kind)[0].blob for kind in ("state", "model"))
    store.blobs.path(state).unlink()
    path = store.blobs.path(model)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert found(store) == {("file_missing", state), ("file_damaged", model)}
    assert all(run in each.message or "model m" in each.message for each in store.check().findings)


CONTRADICTIONS = {
    "DELETE FROM runs": "row_dangling",
    "DELETE FROM runs; DELETE FROM model_versions": "row_dangling",
    "UPDATE jobs SET status = 'queued'": "rows_disagree",
    "DELETE FROM attempts": "rows_disagree",
    "UPDATE attempts SET ended_at = 1": "rows_disagree",
    "DELETE FROM blocks": "rows_disagree",
    "DELETE FROM model_versions": "rows_disagree",
    "UPDATE aliases SET version = 2": "rows_disagree",
}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("statements", CONTRADICTIONS)
def test_rows_that_cannot_all_be_true_are_found(statements: str, store: Store, folder: Path) -> None:
    spoil(folder, statements)
    assert CONTRADICTIONS[statements] in {code for code, _ in found(store)}


@pytest.mark.usefixtures("run")
def test_a_damaged_page_is_found(store: Store, folder: Path, another: Callable[[], Store]) -> None:
    store.close()
    connection = sqlite3.connect(folder / "store.db")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'series'").fetchone()
    connection.close()
    with open(folder / "store.db", "r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 2000)
    checkup = another().check()
    assert {each.code for each in checkup.findings} == {"database_damaged"}
