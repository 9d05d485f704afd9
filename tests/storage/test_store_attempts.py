"""The life of a run in processes: claimed, reported on, fenced, lost, given back, ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from service import clock
from service.errors import Conflict
from service.storage import Attempt, Checkpoint, Fenced, Job, Owner, Report, Status, Store
from service.storage.status import MOVES, move

Submit = Callable[..., Job]
Claim = Callable[[], Attempt]
Publish = Callable[..., Checkpoint]
FULL_REPORT = Report(
    series={"val_loss": ([1, 2], [0.5, 0.25])}, events=(("epoch", {"epoch": 1}),), step=2, phase="training",
    progress=0.5, eta_s=7.0,
)  # fmt: skip


def everything(store: Store, job: Job) -> object:
    """All that a stale writer could have changed, but for the time left of leases, which runs by itself."""
    (run_id,) = job.run_ids
    live = [(each.attempt, each.owner) for each in store.runs.live()]
    return store.jobs.get(job.id), store.runs.get(run_id), store.runs.checkpoints(run_id), store.events.after(0), live


def test_an_empty_queue_gives_nothing(store: Store, owner: Owner) -> None:
    assert store.runs.claim(owner, 10) is None


def test_a_claim_takes_a_run_once_and_names_its_owner(store: Store, owner: Owner, submit: Submit) -> None:
    job = submit(cpus=2, memory_bytes=10_000)
    attempt = store.runs.claim(owner, 10)
    assert attempt == Attempt(job.run_ids[0], 1, 2, 10_000)
    assert store.runs.claim(owner, 10) is None
    (live,) = store.runs.live()
    assert (live.attempt, live.owner) == (attempt, owner)
    assert 9 < live.lease_left_s <= 10
    job = store.jobs.get(job.id)
    assert (job.status, job.attempt, job.started_at is not None) == ("running", 1, True)


def test_a_run_that_needs_more_than_is_free_waits_for_others_to_pass(
    store: Store, owner: Owner, submit: Submit
) -> None:
    large, small = submit(cpus=4, memory_bytes=1 << 30), submit()
    first = store.runs.claim(owner, 10, cpus=2, memory_bytes=1 << 20)
    assert first is not None
    assert first.run_id == small.run_ids[0]
    assert store.runs.claim(owner, 10, cpus=2) is None
    second = store.runs.claim(owner, 10, cpus=4)
    assert second is not None
    assert second.run_id == large.run_ids[0]


def test_the_process_of_an_attempt_can_be_told_later(store: Store, submit: Submit, claim: Claim) -> None:
    submit()
    attempt = claim()
    process = Owner(99, "later", clock.boot_id())
    store.runs.attach(attempt, process)
    assert store.runs.live()[0].owner == process


def test_a_report_is_kept_whole(store: Store, submit: Submit, claim: Claim, publish: Publish) -> None:
    job, attempt = submit(), claim()
    checkpoint = publish(attempt.run_id, 2, "state")
    store.runs.report(attempt, replace(FULL_REPORT, checkpoints=(checkpoint,)))
    job, run = store.jobs.get(job.id), store.runs.get(attempt.run_id)
    assert (job.phase, job.progress, job.eta_s, run.step) == ("training", 0.5, 7.0, 2)
    assert run.summary["val_loss"]["best"] == {"value": 0.25, "step": 2}
    assert store.events.after(0)[-1].data == {"epoch": 1}
    (kept,) = store.runs.checkpoints(attempt.run_id)
    assert replace(kept, created_at=checkpoint.created_at, token=0) == checkpoint
    assert kept.token == attempt.token


def test_what_a_report_leaves_out_stays(store: Store, submit: Submit, claim: Claim) -> None:
    job, attempt = submit(), claim()
    store.runs.report(attempt, FULL_REPORT)
    store.runs.report(attempt, Report())
    job, run = store.jobs.get(job.id), store.runs.get(attempt.run_id)
    assert (job.phase, job.progress, job.eta_s, run.step) == ("training", 0.5, 7.0, 2)


def test_a_report_and_a_renewal_prolong_the_lease(store: Store, owner: Owner, submit: Submit) -> None:
    submit()
    attempt = store.runs.claim(owner, 0.2)
    assert attempt is not None
    verbs: list[Callable[[], object]] = [
        lambda: store.runs.report(attempt, Report()),
        lambda: store.runs.renew(attempt),
    ]
    for verb in verbs:
        time.sleep(0.1)
        before = store.runs.live()[0].lease_left_s
        verb()
        assert store.runs.live()[0].lease_left_s > before


def test_every_change_of_a_run_shows_in_its_revision(store: Store, submit: Submit, claim: Claim) -> None:
    submit()
    attempt = claim()
    seen = [store.runs.get(attempt.run_id).revision]
    verbs: list[Callable[[], object]] = [
        lambda: store.runs.report(attempt, FULL_REPORT),
        lambda: store.runs.patch(attempt.run_id, notes="n"),
        lambda: store.runs.finish(attempt, "succeeded"),
    ]
    for verb in verbs:
        verb()
        seen.append(store.runs.get(attempt.run_id).revision)
    assert seen == sorted(set(seen))


def stale_after(ending: Callable[[Store, Attempt], object]) -> Callable[[Store, Attempt, Owner], None]:
    def make_stale(store: Store, attempt: Attempt, owner: Owner) -> None:
        ending(store, attempt)
        if store.runs.get(attempt.run_id).status == "queued":
            assert store.runs.claim(owner, 10) is not None

    return make_stale


@pytest.mark.parametrize(
    "make_stale",
    [
        stale_after(lambda store, attempt: store.runs.lose(attempt, "frozen")),
        stale_after(lambda store, attempt: store.runs.release(attempt)),
        stale_after(lambda store, attempt: store.runs.finish(attempt, "succeeded")),
        stale_after(lambda store, attempt: store.runs.finish(attempt, "paused")),
    ],
    ids=["taken over", "given back", "ended", "paused"],
)
@pytest.mark.parametrize(
    "verb",
    [
        lambda store, attempt: store.runs.report(attempt, FULL_REPORT),
        lambda store, attempt: store.runs.renew(attempt),
        lambda store, attempt: store.runs.attach(attempt, Owner(1, "1", "1")),
        lambda store, attempt: store.runs.finish(attempt, "failed", error={"code": "x"}, final=FULL_REPORT),
        lambda store, attempt: store.runs.release(attempt),
        lambda store, attempt: store.runs.lose(attempt, "again"),
    ],
    ids=["report", "renew", "attach", "finish", "release", "lose"],
)
def test_a_stale_token_writes_nothing(
    verb: Callable[[Store, Attempt], object],
    make_stale: Callable[[Store, Attempt, Owner], None],
    store: Store,
    owner: Owner,
    submit: Submit,
    claim: Claim,
) -> None:
    job, attempt = submit(), claim()
    make_stale(store, attempt, owner)
    before = everything(store, job)
    with pytest.raises(Fenced):
        verb(store, attempt)
    assert everything(store, job) == before


def test_a_lost_run_goes_to_the_head_of_the_queue_with_a_new_token(store: Store, submit: Submit, claim: Claim) -> None:
    lost, waiting = submit(), submit()
    attempt = claim()
    store.runs.lose(attempt, "Segmentation fault")
    assert [job.queue_position for job in map(store.jobs.get, (lost.id, waiting.id))] == [1, 2]
    event = next(each for each in store.events.after(0) if each.kind == "lost")
    assert event.data == {"code": "worker_lost", "words": "Segmentation fault"}
    again = claim()
    assert again == replace(attempt, token=2)
    assert store.jobs.get(lost.id).attempt == 2


def test_a_poison_job_fails_with_its_last_words_after_three_lives(store: Store, submit: Submit, claim: Claim) -> None:
    job, next_job = submit(), submit()
    for _ in range(3):
        attempt = claim()
        assert attempt.run_id == job.run_ids[0]
        store.runs.lose(attempt, "first line\nkilled by signal 6")
    job = store.jobs.get(job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["hint"]) == ("worker_lost", "killed by signal 6")
    assert store.runs.get(job.run_ids[0]).error == job.error
    assert claim().run_id == next_job.run_ids[0]


def test_only_lives_without_a_new_checkpoint_count_against_a_run(
    store: Store, submit: Submit, claim: Claim, publish: Publish
) -> None:
    job = submit()
    for step in range(5):
        attempt = claim()
        store.runs.report(attempt, Report(checkpoints=(publish(attempt.run_id, step, "state"),)))
        store.runs.lose(attempt, "")
    assert store.jobs.get(job.id).status == "queued"


def test_losses_of_each_kind_count_by_their_own_measure(store: Store, submit: Submit, claim: Claim) -> None:
    """5 of 10 are a half, 1 of 3 is a third; with another 1 of 3 it is more than a whole."""
    job = submit()
    for lives in (10, 10, 10, 10, 10, 3):
        store.runs.lose(claim(), "", max_attempts=lives)
    assert store.jobs.get(job.id).status == "queued"
    store.runs.lose(claim(), "", max_attempts=3)
    assert store.jobs.get(job.id).status == "failed"


def test_the_code_of_a_loss_and_the_number_of_lives_can_be_told(store: Store, submit: Submit, claim: Claim) -> None:
    job = submit()
    store.runs.lose(claim(), "Killed", code="out_of_memory", max_attempts=1)
    job = store.jobs.get(job.id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "out_of_memory")


def test_a_run_given_back_burns_no_attempt_and_comes_first(store: Store, submit: Submit, claim: Claim) -> None:
    job, other = submit(), submit()
    for _ in range(5):
        attempt = claim()
        assert attempt.run_id == job.run_ids[0]
        store.runs.release(attempt)
    job = store.jobs.get(job.id)
    assert (job.status, job.attempt, job.queue_position) == ("queued", 0, 1)
    assert store.jobs.get(other.id).queue_position == 2


@pytest.mark.parametrize(("how", "target"), [("cancel", "cancelled"), ("pause", "paused")])
@pytest.mark.parametrize("ending", ["lose", "release"])
def test_a_stop_that_was_asked_for_holds_when_the_worker_is_lost_or_leaves(
    ending: str, how: str, target: str, store: Store, submit: Submit, claim: Claim
) -> None:
    job, attempt = submit(), claim()
    store.jobs.request_stop(job.id, how)  # type: ignore[arg-type]
    if ending == "lose":
        store.runs.lose(attempt, "gone")
    else:
        store.runs.release(attempt)
    assert store.jobs.get(job.id).status == target


def test_a_verdict_is_kept_whole(store: Store, submit: Submit, claim: Claim, publish: Publish) -> None:
    job, attempt = submit(), claim()
    model = publish(attempt.run_id, 9)
    run = store.runs.finish(
        attempt, "succeeded", stopped_by="early_stopping", model_blob=model.blob, weights_sha256="abc",
        receipt={"engine": "1"}, report={"confusion": [[1]]}, final=FULL_REPORT,
    )  # fmt: skip
    assert run == store.runs.get(run.id)
    assert (run.status, run.model_blob, run.weights_sha256) == ("succeeded", model.blob, "abc")
    assert (run.receipt, run.report, run.step) == ({"engine": "1"}, {"confusion": [[1]]}, 2)
    job = store.jobs.get(job.id)
    assert (job.status, job.stopped_by, job.progress, job.eta_s) == ("succeeded", "early_stopping", 1.0, None)
    assert job.ended_at is not None
    assert [move["status"] for move in job.transitions] == ["queued", "running", "succeeded"]
    assert store.events.after(0)[-1].data == {"status": "succeeded", "stopped_by": "early_stopping"}
    assert store.runs.live() == ()


@pytest.mark.parametrize("ending", ["cancelled by the worker", "cancelled while waiting", "failed", "lost"])
def test_a_run_that_ends_without_a_model_keeps_the_best_it_had_published(
    ending: str, store: Store, submit: Submit, claim: Claim, publish: Publish
) -> None:
    job, attempt = submit(), claim()
    older, best = publish(attempt.run_id, 1), publish(attempt.run_id, 5)
    store.runs.report(attempt, Report(checkpoints=(older, best, publish(attempt.run_id, 9, "state"))))
    if ending == "cancelled by the worker":
        store.runs.finish(attempt, "cancelled")
    elif ending == "cancelled while waiting":
        store.runs.release(attempt)
        store.jobs.request_stop(job.id, "cancel")
    elif ending == "failed":
        store.runs.finish(attempt, "failed", error={"code": "diverged", "message": "m"})
    else:
        store.runs.lose(attempt, "", max_attempts=0)
    run = store.runs.get(attempt.run_id)
    assert run.status in ("cancelled", "failed")
    assert (run.model_blob, run.weights_sha256) == (best.blob, best.weights_sha256)


def every_move() -> list[tuple[Status, Status]]:
    return [(source, target) for source in MOVES for target in MOVES]


@pytest.mark.parametrize(("source", "target"), every_move())
def test_a_run_goes_only_where_the_table_of_moves_lets_it(
    source: Status, target: Status, store: Store, submit: Submit, owner: Owner
) -> None:
    run_id = submit().run_ids[0]
    if source != "queued":
        attempt = store.runs.claim(owner, 10)
        assert attempt is not None
        if source != "running":
            store.runs.finish(attempt, source)
    with store._database.write() as connection:  # the only door to a move by itself
        if target in MOVES[source]:
            move(connection, run_id, target)
        else:
            with pytest.raises(Conflict):
                move(connection, run_id, target)
    expected = target if target in MOVES[source] else source
    run = store.runs.get(run_id)
    assert run.job_id is not None
    assert run.status == store.jobs.get(run.job_id).status == expected


@pytest.mark.parametrize("hours", [-1, 1, 24 * 400])
def test_no_lease_is_touched_by_a_clock_that_is_set(
    hours: int, store: Store, submit: Submit, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    attempt = claim()
    real = clock.now

    def set_clock() -> datetime:
        return real() + timedelta(hours=hours)

    monkeypatch.setattr(clock, "now", set_clock)
    (live,) = store.runs.live()
    assert 9 < live.lease_left_s <= 10
    store.runs.report(attempt, FULL_REPORT)
    assert 9 < store.runs.live()[0].lease_left_s <= 10


def test_the_queue_keeps_its_order_when_the_clock_is_set_back(
    store: Store, submit: Submit, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit()
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - timedelta(hours=1))
    second = submit()
    assert [job.id for job in store.jobs.list().data] == [second.id, first.id]
    assert [claim().run_id, claim().run_id] == [first.run_ids[0], second.run_ids[0]]
    ids = [event.id for event in store.events.after(0)]
    assert ids == sorted(ids)


def test_a_lease_of_an_earlier_start_of_the_machine_is_over(store: Store, submit: Submit) -> None:
    submit()
    store.runs.claim(Owner(1, "1", "another boot"), 1e9)
    assert store.runs.live()[0].lease_left_s < 0


def test_an_external_run_needs_no_worker_and_takes_none(store: Store, owner: Owner) -> None:
    run = store.runs.create_external(name="theirs", tags=["t"], spec={"lr": 0.1})
    assert (run.type, run.status, run.job_id, run.spec) == ("external", "running", None, {"lr": 0.1})
    assert store.runs.claim(owner, 10) is None
    assert store.runs.live() == ()
    ended = store.runs.end_external(run.id, "failed", {"code": "theirs", "message": "m"})
    assert (ended.status, ended.error) == ("failed", {"code": "theirs", "message": "m"})
    with pytest.raises(Conflict):
        store.runs.end_external(run.id, "succeeded")


def test_a_run_of_a_job_is_not_ended_from_outside(store: Store, submit: Submit, claim: Claim) -> None:
    submit()
    with pytest.raises(Conflict):
        store.runs.end_external(claim().run_id, "succeeded")
