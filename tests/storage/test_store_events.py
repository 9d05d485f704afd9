"""Events by cursor: in order, none missed, none twice."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.storage import Attempt, Job, Report, Store


def test_a_reader_that_goes_on_from_its_cursor_misses_nothing(store: Store, submit: Callable[..., Job]) -> None:
    seen: list[int] = []
    for _ in range(10):
        submit()
        submit()
        seen += [event.id for event in store.events.after(seen[-1] if seen else 0, limit=3)]
    seen += [event.id for event in store.events.after(seen[-1])]
    assert seen == [event.id for event in store.events.after(0)]
    assert len(seen) == 20
    assert store.events.latest_id() == seen[-1]


def test_events_are_of_one_job_one_run_several_runs_or_all(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]
) -> None:
    first, second, third = submit(), submit(), submit()
    claim()
    kinds = [event.kind for event in store.events.after(0, job_id=first.id)]
    assert kinds == ["queued", "started"]
    assert store.events.after(0, run_id=first.run_ids[0]) == store.events.after(0, job_id=first.id)
    both = store.events.after(0, run_ids=[*second.run_ids, *third.run_ids])
    assert [event.job_id for event in both] == [second.id, third.id]
    assert len(store.events.after(0)) == 4
    assert store.events.after(0, run_ids=[]) == ()


def test_the_events_of_a_report_keep_their_order_and_hold_no_number_that_json_lacks(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]
) -> None:
    submit()
    told = [("epoch", {"epoch": each, "loss": math.nan if each == 1 else each}) for each in range(3)]
    store.runs.report(claim(), Report(events=tuple(told)))
    events = store.events.after(2)
    assert [(event.kind, event.data) for event in events] == [
        ("epoch", {"epoch": 0, "loss": 0}), ("epoch", {"epoch": 1, "loss": None}), ("epoch", {"epoch": 2, "loss": 2}),
    ]  # fmt: skip


def test_an_id_is_never_used_again_even_when_the_newest_events_are_deleted(
    store: Store, another: Callable[[], Store], submit: Callable[..., Job]
) -> None:
    job = submit()
    store.jobs.request_stop(job.id, "cancel")
    newest = store.events.latest_id()
    store.jobs.delete(job.id)
    assert store.events.latest_id() == 0
    store.close()
    again = another()
    again.jobs.submit(type="train", spec={})
    assert again.events.latest_id() > newest


def test_the_version_changes_with_any_commit_of_any_process_and_not_without(
    store: Store, another: Callable[[], Store], submit: Callable[..., Job]
) -> None:
    before = store.events.version()
    store.jobs.list()
    assert store.events.version() == before
    submit()
    mine = store.events.version()
    assert mine != before
    other = another()
    other.jobs.submit(type="train", spec={})
    assert store.events.version() != mine


WRITES = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None) as other:
    try:
        other.execute("BEGIN IMMEDIATE")
        print("in")
    except sqlite3.OperationalError as error:
        print(error)
"""


@pytest.mark.sqlite
def test_a_store_that_looked_for_commits_takes_nobodys_lock_with_it_when_it_closes(
    store: Store, another: Callable[[], Store], folder: Path
) -> None:
    def elsewhere() -> str:
        words = [sys.executable, "-c", WRITES, str(folder / "store.db")]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    other = another()
    for _ in range(2):
        other.events.version()
    with store._database.write():
        other.close()
        assert elsewhere() == "database is locked"
    assert elsewhere() == "in"
