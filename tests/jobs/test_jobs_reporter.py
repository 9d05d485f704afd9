"""The only way a run writes: in order, soon, patiently, and never for a run that is another's."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from jobs_machine import LONG, Build, Machine, digits

from service.jobs import process
from service.jobs.reporter import Reporter, Snapshot
from service.storage import Attempt, Fenced


@pytest.fixture
def machine(build: Build) -> Machine:
    """A store without anybody who claims."""
    return build(start=False)


@pytest.fixture
def attempt(machine: Machine) -> Attempt:
    machine.submit(digits(1))
    claimed = machine.store.runs.claim(process.owner_of(os.getpid()), 60)
    assert claimed is not None
    return claimed


@pytest.fixture
def reporter(machine: Machine, attempt: Attempt) -> Iterator[Reporter]:
    with Reporter(machine.store, attempt, lambda: False) as opened:
        yield opened


def points(*steps: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    at = np.array(steps, np.int64)
    return {"batch_loss": (at, at / 10)}


def snapshot(step: int) -> Snapshot:
    return Snapshot("state", step, "0" * 64, {"theta": np.full(4, step, np.float32)}, {"kind": "state"})


def steps(machine: Machine, attempt: Attempt) -> list[int]:
    series = machine.store.metrics.series(attempt.run_id)
    return series["batch_loss"].steps.tolist() if series else []


def test_what_is_told_is_soon_stored(machine: Machine, attempt: Attempt, reporter: Reporter) -> None:
    reporter.tell(series=points(1, 2), step=2, progress=0.5)
    machine.poll(lambda: steps(machine, attempt) == [1, 2])
    assert machine.store.runs.get(attempt.run_id).step == 2


def test_a_checkpoint_is_never_published_before_the_points_it_would_go_on_after(
    machine: Machine, attempt: Attempt, reporter: Reporter
) -> None:
    for step in range(1, 60):
        reporter.tell(series=points(step))
        reporter.publish(snapshot(step))
        states = machine.store.runs.checkpoints(attempt.run_id, "state")
        known = steps(machine, attempt)
        assert not states or states[0].step <= max(known)
    reporter.rest()
    assert machine.store.runs.checkpoints(attempt.run_id, "state")[0].step == 59


def test_as_many_checkpoints_are_kept_as_was_asked_for_and_the_best_model(machine: Machine, attempt: Attempt) -> None:
    with Reporter(machine.store, attempt, lambda: False, keep=2) as reporter:
        reporter.publish(Snapshot("model", 1, "0" * 64, {"best": np.zeros(2, np.float32)}, {}))
        for step in range(2, 7):
            reporter.publish(snapshot(step))
        reporter.rest()
    kept = machine.store.runs.checkpoints(attempt.run_id)
    assert [(each.kind, each.step) for each in kept] == [("state", 6), ("state", 5), ("model", 1)]
    assert all(machine.store.blobs.verify(each.blob) for each in kept)


def test_a_quiet_run_still_gives_signs_of_life(machine: Machine, attempt: Attempt, reporter: Reporter) -> None:
    before = machine.store.runs.live()[0].lease_left_s
    time.sleep(0.3)
    machine.poll(lambda: machine.store.runs.live()[0].lease_left_s > before - 0.3)


def test_a_stop_is_learned_without_asking_the_store(machine: Machine, attempt: Attempt, reporter: Reporter) -> None:
    assert reporter.asked() is None
    machine.store.jobs.request_stop(machine.store.runs.get(attempt.run_id).job_id or "", "pause")
    machine.poll(lambda: reporter.asked() == "pause")


def test_a_run_that_is_anothers_is_written_no_more(machine: Machine, attempt: Attempt, reporter: Reporter) -> None:
    machine.store.runs.lose(attempt, "taken over")

    def fenced() -> bool:
        try:
            reporter.tell(series=points(1))
        except Fenced:
            return True
        return False

    machine.poll(fenced)
    assert steps(machine, attempt) == []
    with pytest.raises(Fenced):
        reporter.rest()


def test_a_full_disk_is_waited_out_and_nothing_is_lost(build: Build) -> None:
    """Full for the worker alone: the kernel refuses whatever it writes beyond a file's first 4 KiB."""
    machine = build()
    whole = machine.until(machine.submit(digits(LONG)), "succeeded")
    job = machine.submit(digits(LONG))
    machine.saved(job)
    pid = machine.live(job).owner.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    time.sleep(0.5)
    told = machine.points(job)
    time.sleep(0.5)
    assert machine.points(job) == told, "nothing gets through"
    assert machine.store.jobs.get(job.id).status == "running"
    newest = machine.store.runs.checkpoints(job.run_ids[0], "state")[0]
    assert machine.store.blobs.verify(newest.blob), "the last checkpoint is whole"
    assert not list((machine.settings.data_dir / "blobs" / "new").iterdir()), "nothing half-written is left"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    job = machine.until(job, "succeeded")
    assert job.attempt == 1
    assert machine.points(job) == machine.points(whole)
    assert machine.run(job).weights_sha256 == machine.run(whole).weights_sha256


def test_a_checkpoint_that_finds_no_room_does_not_cost_the_lease(
    machine: Machine, attempt: Attempt, reporter: Reporter
) -> None:
    def lease_until() -> float:
        (live,) = machine.store.runs.live()
        return time.monotonic() + live.lease_left_s

    large = Snapshot("state", 1, "0" * 64, {"theta": np.zeros(4 << 20, np.float32)}, {"kind": "state"})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, old[1]))  # room for the database, not for 16 MiB
        reporter.publish(large)
        begin = lease_until()
        machine.poll(lambda: lease_until() > begin + 3)
        assert reporter.busy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    machine.poll(lambda: not reporter.busy)
    assert machine.store.runs.checkpoints(attempt.run_id, "state")[0].step == 1


def test_a_worker_on_a_full_disk_can_still_be_asked_to_leave(build: Build) -> None:
    machine = build()
    job = machine.submit(digits(100_000))
    machine.saved(job)
    pid = machine.live(job).owner.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    time.sleep(0.5)
    os.kill(pid, signal.SIGTERM)
    machine.poll(lambda: machine.events(job, "lost") or machine.store.jobs.get(job.id).attempt > 1)
