"""A search is one job of many runs: it stands as they do together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service import clock
from service.errors import Conflict, QueueFull
from service.storage import Attempt, Idempotency, Job, Report, Store, Trial
from service.storage.trials import together

Claim = Callable[[], Attempt]


@pytest.fixture
def search(store: Store) -> Callable[..., Job]:
    def submitted(trials: int = 3, **given: Any) -> Job:
        every = [Trial({"seed": seed}, 1000 + seed) for seed in range(trials)]
        return store.jobs.submit(**({"type": "search", "spec": {"folds": trials}, "name": "cv"} | given), trials=every)

    return submitted


@pytest.mark.parametrize(
    ("runs", "job"),
    [
        ("queued queued", "queued"),
        ("running queued", "running"),
        ("succeeded queued", "running"),
        ("failed running", "running"),
        ("paused queued", "queued"),
        ("paused succeeded", "paused"),
        ("succeeded failed", "succeeded"),
        ("failed failed", "failed"),
        ("succeeded cancelled", "cancelled"),
        ("cancelled failed", "cancelled"),
    ],
)
def test_a_search_stands_as_its_runs_do_together(runs: str, job: str) -> None:
    assert together(runs.split()) == job
    assert together(runs.split()[::-1]) == job


def test_a_search_makes_all_its_runs_at_once(store: Store, search: Callable[..., Job]) -> None:
    job = search(tags=["a"], priority=2)
    assert (job.status, job.queue_position, len(job.run_ids)) == ("queued", 1, 3)
    runs = [store.runs.get(run_id) for run_id in job.run_ids]
    assert [run.spec["seed"] for run in runs] == [0, 1, 2]
    assert {(run.type, run.tags, run.status, run.job_id) for run in runs} == {("train", ("a",), "queued", job.id)}
    assert [run.name for run in runs] == ["cv 1/3", "cv 2/3", "cv 3/3"]
    assert [event.kind for event in store.events.after(0)] == ["queued"] * 3


def test_a_search_with_a_key_is_made_once(store: Store, search: Callable[..., Job]) -> None:
    key = Idempotency("k", "0" * 64)
    assert search(idempotency_key=key) == search(idempotency_key=key)
    assert len(store.runs.list().data) == 3


def test_a_search_that_does_not_fit_the_queue_is_refused_whole(store: Store, search: Callable[..., Job]) -> None:
    with pytest.raises(QueueFull):
        search(max_queue=2)
    assert store.events.latest_id() == 0


def test_a_search_runs_from_its_first_start_to_its_last_end(
    store: Store, search: Callable[..., Job], claim: Claim
) -> None:
    job = search(2)
    first = claim()
    store.runs.report(first, Report(progress=0.5, phase="training"))
    halfway = store.jobs.get(job.id)
    assert (halfway.status, halfway.phase, halfway.progress) == ("running", "trial 1 of 2", 0.25)
    store.runs.finish(first, "failed", error={"code": "diverged", "message": "m"})
    between = store.jobs.get(job.id)
    assert (between.status, between.phase, between.progress) == ("running", "trial 2 of 2", 0.5)
    store.runs.finish(claim(), "succeeded")
    ended = store.jobs.get(job.id)
    assert (ended.status, ended.progress, ended.attempt, ended.error) == ("succeeded", 1.0, 2, None)
    assert [move["status"] for move in ended.transitions] == ["queued", "running", "succeeded"]
    assert ended.ended_at is not None
    assert store.check().sound


def test_a_search_none_of_whose_runs_succeeds_has_failed_for_the_first_ones_reason(
    store: Store, search: Callable[..., Job], claim: Claim
) -> None:
    job = search(2)
    for code in ("diverged", "out_of_memory"):
        store.runs.finish(claim(), "failed", error={"code": code, "message": "m"})
    failed = store.jobs.get(job.id)
    assert (failed.status, (failed.error or {})["code"]) == ("failed", "diverged")


def test_to_cancel_a_search_ends_those_that_wait_and_asks_those_that_run(
    store: Store, search: Callable[..., Job], claim: Claim
) -> None:
    job = search()
    attempt = claim()
    asked = store.jobs.request_stop(job.id, "cancel")
    assert (asked.status, asked.stop_requested) == ("running", "cancel")
    assert [store.runs.get(run_id).status for run_id in job.run_ids] == ["running", "cancelled", "cancelled"]
    assert store.jobs.request_stop(job.id, "cancel") == asked
    store.runs.finish(attempt, "cancelled", stopped_by="user")
    ended = store.jobs.get(job.id)
    assert (ended.status, ended.stopped_by, ended.stop_requested) == ("cancelled", "user", None)
    assert store.jobs.request_stop(job.id, "cancel") == ended
    with pytest.raises(Conflict):
        store.jobs.request_stop(job.id, "pause")
    store.jobs.delete(job.id)
    assert store.runs.list().data == ()


def test_a_paused_search_goes_on_with_what_was_left(store: Store, search: Callable[..., Job], claim: Claim) -> None:
    job = search()
    store.runs.finish(claim(), "succeeded")
    at_work = claim()
    store.jobs.request_stop(job.id, "pause")
    with pytest.raises(Conflict):
        store.jobs.resume(job.id)
    store.runs.finish(at_work, "paused")
    assert store.jobs.get(job.id).status == "paused"
    store.jobs.resume(job.id)
    assert [store.runs.get(run_id).status for run_id in job.run_ids] == ["succeeded", "queued", "queued"]
    for _ in range(2):
        store.runs.finish(claim(), "succeeded")
    assert store.jobs.get(job.id).status == "succeeded"


def test_a_search_tells_what_is_left_at_its_pace_without_the_time_it_was_paused(
    store: Store, search: Callable[..., Job], claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: now)
    job = search(4)
    now += timedelta(seconds=1000)  # in the queue
    first = claim()
    assert store.jobs.get(job.id).eta_s is None
    now += timedelta(seconds=10)
    store.runs.report(first, Report(progress=0.5))
    assert store.jobs.get(job.id).eta_s == pytest.approx(70)  # 10 s for an eighth
    now += timedelta(seconds=10)
    store.runs.finish(first, "succeeded")
    assert store.jobs.get(job.id).eta_s == pytest.approx(60)  # 20 s for a quarter
    second = claim()
    store.jobs.request_stop(job.id, "pause")
    store.runs.finish(second, "paused")
    assert store.jobs.get(job.id).eta_s is None
    now += timedelta(seconds=5000)
    store.jobs.resume(job.id)
    second = claim()
    now += timedelta(seconds=10)
    store.runs.report(second, Report(progress=0.8))
    assert store.jobs.get(job.id).eta_s == pytest.approx(30 * 0.55 / 0.45)
    now += timedelta(seconds=10)
    for attempt in (second, claim(), claim()):
        store.runs.finish(attempt, "succeeded")
    assert store.jobs.get(job.id).eta_s is None


def test_a_search_has_the_place_of_its_next_run(store: Store, submit: Callable[..., Job], claim: Claim,
                                                search: Callable[..., Job]) -> None:  # fmt: skip
    before, job, behind = submit(), search(), submit()
    assert [store.jobs.get(each.id).queue_position for each in (before, job, behind)] == [1, 2, 5]
    assert [each.queue_position for each in store.jobs.list().data] == [5, 2, 1]
