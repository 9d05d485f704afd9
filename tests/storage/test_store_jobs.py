"""What people may ask of jobs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from service.errors import Conflict, InvalidSpec, NotFound, QueueFull
from service.storage import Attempt, Idempotency, Job, Store

Submit = Callable[..., Job]
Claim = Callable[[], Attempt]


def test_a_submitted_job_waits_with_one_run_and_one_event(store: Store, submit: Submit) -> None:
    job = submit(name="first", tags=["a", "b", "a"], spec={"seed": 3})
    assert (job.status, job.phase, job.queue_position, job.attempt, job.progress) == ("queued", "waiting", 1, 0, 0.0)
    assert (job.name, job.tags, job.spec) == ("first", ("a", "b"), {"seed": 3})
    assert [move["status"] for move in job.transitions] == ["queued"]
    (run_id,) = job.run_ids
    run = store.runs.get(run_id)
    assert (run.job_id, run.status, run.spec, run.tags) == (job.id, "queued", {"seed": 3}, ("a", "b"))
    assert [(event.kind, event.run_id, event.job_id) for event in store.events.after(0)] == [("queued", run_id, job.id)]


def test_ids_are_prefixed_and_in_the_order_of_their_making(submit: Submit) -> None:
    ids = [submit().id for _ in range(5)]
    assert all(re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{22}", each) for each in ids)
    assert [each[:14] for each in ids] == sorted(each[:14] for each in ids)  # the part made of milliseconds
    assert len(set(ids)) == 5


def test_the_queue_is_by_priority_and_then_first_come(submit: Submit, claim: Claim, store: Store) -> None:
    ordinary, urgent, later, more_urgent = submit(), submit(priority=1), submit(), submit(priority=2)
    positions = {job.id: job.queue_position for job in store.jobs.list().data}
    assert [positions[job.id] for job in (more_urgent, urgent, ordinary, later)] == [1, 2, 3, 4]
    claimed = [store.runs.get(claim().run_id).job_id for _ in range(4)]
    assert claimed == [more_urgent.id, urgent.id, ordinary.id, later.id]


def test_a_full_queue_takes_no_more_until_one_is_claimed(store: Store, submit: Submit, claim: Claim) -> None:
    submit(max_queue=2)
    submit(max_queue=2)
    with pytest.raises(QueueFull):
        submit(max_queue=2)
    assert len(store.jobs.list().data) == 2
    claim()
    assert submit(max_queue=2).queue_position == 2


def test_a_job_on_an_unknown_data_set_is_refused_and_leaves_nothing(store: Store, submit: Submit) -> None:
    with pytest.raises(InvalidSpec) as error:
        submit(dataset_id="ds_none")
    assert error.value.faults[0].pointer == "/spec/dataset/id"
    assert store.events.latest_id() == 0


def test_the_same_key_and_request_give_the_same_job(store: Store, submit: Submit, claim: Claim) -> None:
    key = Idempotency("k1", "f" * 64)
    job = submit(idempotency_key=key)
    claim()
    again = submit(idempotency_key=key, max_queue=0)
    assert again.id == job.id
    assert again.status == "running"
    assert len(store.jobs.list().data) == 1
    assert submit(idempotency_key=Idempotency("k2", "f" * 64)).id != job.id


def test_the_same_key_with_another_request_is_refused(store: Store, submit: Submit) -> None:
    submit(idempotency_key=Idempotency("k1", "f" * 64))
    with pytest.raises(InvalidSpec) as error:
        submit(idempotency_key=Idempotency("k1", "0" * 64))
    assert error.value.faults[0].code == "idempotency_mismatch"
    assert len(store.jobs.list().data) == 1


def test_a_key_whose_job_was_deleted_makes_no_second_one(store: Store, submit: Submit) -> None:
    job = submit(idempotency_key=Idempotency("k1", "f" * 64))
    store.jobs.request_stop(job.id, "cancel")
    store.jobs.delete(job.id)
    with pytest.raises(Conflict):
        submit(idempotency_key=Idempotency("k1", "f" * 64))


@pytest.mark.parametrize(("how", "target"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_waiting_job_is_stopped_at_once_and_asking_again_changes_nothing(
    how: str, target: str, store: Store, submit: Submit
) -> None:
    job = submit()
    stopped = store.jobs.request_stop(job.id, how)  # type: ignore[arg-type]
    assert (stopped.status, stopped.queue_position) == (target, None)
    events = store.events.latest_id()
    assert store.jobs.request_stop(job.id, how) == stopped  # type: ignore[arg-type]
    assert store.events.latest_id() == events
    assert stopped.stopped_by == ("user" if how == "cancel" else None)
    assert (stopped.ended_at is not None) == (how == "cancel")


def test_a_running_job_is_asked_to_stop_and_its_worker_hears_of_it(store: Store, submit: Submit, claim: Claim) -> None:
    job, attempt = submit(), claim()
    assert store.runs.renew(attempt).stop is None
    assert store.jobs.request_stop(job.id, "pause").stop_requested == "pause"
    assert store.runs.renew(attempt).stop == "pause"
    assert store.jobs.request_stop(job.id, "cancel").stop_requested == "cancel"
    assert store.jobs.request_stop(job.id, "pause").stop_requested == "cancel"  # a cancel is not taken back
    assert store.runs.live()[0].stop_requested == "cancel"
    ended = store.runs.finish(attempt, "cancelled")
    job = store.jobs.get(job.id)
    assert (ended.status, job.status, job.stop_requested, job.stopped_by) == ("cancelled", "cancelled", None, "user")


def test_a_paused_job_keeps_its_place_in_the_queue(store: Store, submit: Submit, claim: Claim) -> None:
    first, second, third = submit(), submit(), submit()
    attempt = claim()
    for job in (first, second):
        store.jobs.request_stop(job.id, "pause")
    store.runs.finish(attempt, "paused")
    assert store.jobs.get(third.id).queue_position == 1
    later = submit()
    resumed = [store.jobs.resume(job.id) for job in (second, first)]
    assert [store.jobs.get(job.id).queue_position for job in (first, second, third, later)] == [1, 2, 3, 4]
    assert store.runs.get(claim().run_id).job_id == first.id
    assert [move["status"] for move in resumed[0].transitions] == ["queued", "paused", "queued"]


def test_a_paused_job_can_be_cancelled(store: Store, submit: Submit) -> None:
    job = submit()
    store.jobs.request_stop(job.id, "pause")
    assert store.jobs.request_stop(job.id, "cancel").status == "cancelled"


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_what_has_ended_cannot_be_stopped_or_resumed(status: str, store: Store, submit: Submit, claim: Claim) -> None:
    job = submit()
    store.runs.finish(claim(), status)  # type: ignore[arg-type]
    verbs: list[Callable[[], object]] = [
        lambda: store.jobs.request_stop(job.id, "cancel"),
        lambda: store.jobs.request_stop(job.id, "pause"),
        lambda: store.jobs.resume(job.id),
    ]
    for verb in verbs:
        with pytest.raises(Conflict):
            verb()
    assert store.jobs.get(job.id).status == status


def test_only_a_paused_job_can_be_resumed(store: Store, submit: Submit, claim: Claim) -> None:
    job = submit()
    with pytest.raises(Conflict):
        store.jobs.resume(job.id)
    claim()
    with pytest.raises(Conflict):
        store.jobs.resume(job.id)


def test_only_an_ended_job_is_deleted_and_nothing_of_it_stays(store: Store, submit: Submit, claim: Claim) -> None:
    job, other = submit(tags=["x"]), submit()
    with pytest.raises(Conflict):
        store.jobs.delete(job.id)
    attempt = claim()
    with pytest.raises(Conflict):
        store.jobs.delete(job.id)
    store.runs.finish(attempt, "succeeded")
    store.jobs.delete(job.id)
    with pytest.raises(NotFound):
        store.jobs.get(job.id)
    with pytest.raises(NotFound):
        store.runs.get(attempt.run_id)
    assert {event.job_id for event in store.events.after(0)} == {other.id}
    assert store.jobs.list(tag="x").data == ()


def test_verbs_on_a_job_that_is_not_there_say_so(store: Store) -> None:
    verbs: list[Callable[[], object]] = [
        lambda: store.jobs.get("job_none"),
        lambda: store.jobs.request_stop("job_none", "cancel"),
        lambda: store.jobs.resume("job_none"),
        lambda: store.jobs.delete("job_none"),
    ]
    for verb in verbs:
        with pytest.raises(NotFound):
            verb()


def test_jobs_are_listed_newest_first_and_filtered(store: Store, submit: Submit, claim: Claim) -> None:
    a = submit(type="train", name="a", tags=["x", "y"])
    b = submit(type="ngram", name="b", tags=["x"])
    claim()
    listed = {
        "all": store.jobs.list(), "type": store.jobs.list(type="ngram"), "tag": store.jobs.list(tag="x"),
        "status": store.jobs.list(status="running"), "name": store.jobs.list(name="b"),
        "both": store.jobs.list(tag="y", type="ngram"),
    }  # fmt: skip
    ids = {what: [job.id for job in page.data] for what, page in listed.items()}
    assert ids == {
        "all": [b.id, a.id], "type": [b.id], "tag": [b.id, a.id], "status": [a.id], "name": [b.id], "both": [],
    }  # fmt: skip


def test_pages_of_jobs_stay_right_while_jobs_come_in(store: Store, submit: Submit) -> None:
    made = [submit().id for _ in range(7)]
    seen, after = [], None
    while True:
        page = store.jobs.list(limit=3, after=after)
        seen += [job.id for job in page.data]
        submit()
        if page.next is None:
            break
        after = page.next
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "bm8", "WyJhIl0", "WzEsMl0", "%", "null"])
def test_a_cursor_that_is_none_is_refused(cursor: str, store: Store) -> None:
    with pytest.raises(InvalidSpec) as error:
        store.jobs.list(after=cursor)
    assert error.value.faults[0].code == "invalid_cursor"


def test_open_jobs_are_counted_by_state(store: Store, submit: Submit, claim: Claim) -> None:
    assert store.jobs.counts() == {}
    jobs = [submit() for _ in range(4)]
    claim()
    store.jobs.request_stop(jobs[3].id, "pause")
    assert store.jobs.counts() == {"queued": 2, "running": 1, "paused": 1}
    store.jobs.request_stop(jobs[3].id, "cancel")
    assert store.jobs.counts() == {"queued": 2, "running": 1}
