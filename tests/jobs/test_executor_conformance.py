"""The drill that every executor passes: what it starts is finished once, whatever dies on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from jobs_machine import EXECUTORS, LONG, Build, Machine, digits, freeze, gone, machines

from service import clock
from service.jobs import process
from service.storage import Job

pytestmark = pytest.mark.parametrize("executor", EXECUTORS, scope="module")


NO_LEASE_S = 10_000.0  # what happens all the same does not wait for a lease; how soon: bench_recovery.py

Outcome = tuple[str | None, dict[str, tuple[list[int], list[float]]]]


def outcome(machine: Machine, job: Job) -> Outcome:
    return machine.run(job).weights_sha256, machine.points(job)


@pytest.fixture(scope="module")
def calm(executor: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for all tests that leave its worker alive and idle."""
    with machines(tmp_path_factory.mktemp("calm") / "data") as build:
        yield build(executor=executor)


@pytest.fixture(scope="module")
def undisturbed(calm: Machine) -> Outcome:
    """What `digits(LONG)` comes to when nobody disturbs it: the same everywhere."""
    return outcome(calm, calm.until(calm.submit(digits(LONG)), "succeeded"))


def _shifted(real: Callable[[], datetime], hours: int) -> datetime:
    return real() + timedelta(hours=hours)


def began(machine: Machine, job: Job, lives: int) -> bool:
    return len(machine.events(job, "started")) == lives


def trains(machine: Machine, job: Job, lives: int) -> bool:
    return len(machine.events(job, "training")) == lives


def test_a_small_job_flows_through_a_warm_worker(calm: Machine) -> None:
    job = calm.until(calm.submit(digits()), "succeeded")
    run = calm.run(job)
    assert (job.attempt, job.progress, job.stopped_by) == (1, 1.0, "epochs")
    assert calm.store.blobs.verify(run.model_blob or "")
    assert run.summary["val_accuracy"]["n"] == 3


def test_a_killed_worker_is_replaced_without_waiting_for_its_lease_and_nothing_shows(
    build: Build, executor: str, undisturbed: Outcome
) -> None:
    machine = build(executor=executor, lease_s=NO_LEASE_S)
    job = machine.submit(digits(LONG))
    for _ in range(2):
        machine.saved(job, machine.run(job).step)
        os.kill(machine.live(job).owner.pid, signal.SIGKILL)
    job = machine.until(job, "succeeded")
    assert job.attempt == 3
    assert outcome(machine, job) == undisturbed
    assert [each.kind for each in machine.events(job) if each.kind in ("lost", "resumed")] == ["lost", "resumed"] * 2


def test_a_cancel_is_heeded_and_leaves_a_model(calm: Machine) -> None:
    job = calm.submit(digits(100_000))
    pid = calm.live(job).owner.pid
    calm.saved(job)
    calm.stop(job, "cancel")
    job = calm.until(job, "cancelled")
    assert job.stopped_by == "user"
    assert calm.store.blobs.verify(calm.run(job).model_blob or "")
    assert not gone(pid), "a worker that heeds is not killed"


def test_a_worker_that_never_looks_is_stopped_without_waiting_for_its_lease(build: Build, executor: str) -> None:
    machine = build(executor=executor, lease_s=NO_LEASE_S)
    job = machine.submit(digits(100_000))
    pid = machine.live(job).owner.pid
    machine.poll(lambda: machine.store.runs.checkpoints(job.run_ids[0], "model"))
    freeze(machine, pid)
    machine.stop(job, "cancel")
    job = machine.until(job, "cancelled")
    assert gone(pid)
    assert machine.run(job).model_blob, "the best model published before stays the run's"
    next_job = machine.until(machine.submit(digits()), "succeeded")
    assert next_job.attempt == 1, "its place is free again"


@pytest.mark.parametrize("writing", [False, True])
def test_a_frozen_worker_is_replaced_when_its_lease_is_over(
    build: Build, executor: str, undisturbed: Outcome, writing: bool
) -> None:
    """Even one that holds the store's lock, which until then keeps everybody else from writing."""
    machine = build(executor=executor, lease_s=1.0, workers=2)
    job = machine.submit(digits(LONG))
    machine.saved(job)
    pid = machine.live(job).owner.pid
    freeze(machine, pid, writing=writing)
    job = machine.until(job, "succeeded")
    assert job.attempt == 2
    assert machine.events(job, "lost")[0].data["words"] == "no sign of life for 1 s"
    assert outcome(machine, job) == undisturbed
    assert gone(pid)


def test_a_clock_set_by_an_hour_steals_no_lease(
    calm: Machine, undisturbed: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the server alone, as if it had been told the time just now; the worker goes on by its own."""
    job = calm.submit(digits(LONG))
    calm.saved(job)
    real = clock.now
    for hours in (1, -1):
        monkeypatch.setattr(clock, "now", partial(_shifted, real, hours))
        calm.saved(job, calm.saved(job))
    job = calm.until(job, "succeeded")
    assert job.attempt == 1
    assert outcome(calm, job) == undisturbed


def test_a_poison_job_fails_after_three_lives_and_blocks_nobody(build: Build, executor: str) -> None:
    machine = build(executor=executor, checkpoint_s=1000.0)
    poison, other = machine.submit(digits(100_000)), machine.submit(digits())
    for life in range(1, 4):
        machine.poll(partial(began, machine, poison, life))
        os.kill(machine.live(poison).owner.pid, signal.SIGABRT)
    poison = machine.until(poison, "failed")
    assert poison.error is not None
    assert poison.error["code"] == "worker_lost"
    assert poison.error["hint"] == "the worker process ended by SIGABRT"
    assert "Fatal Python error: Aborted" in machine.events(poison, "lost")[-1].data["words"]
    assert machine.until(other, "succeeded").attempt == 1


def test_a_run_whose_workers_somebody_else_kills_is_not_to_blame(build: Build, executor: str) -> None:
    machine = build(executor=executor, checkpoint_s=1000.0)
    job = machine.submit(digits(LONG))
    for life in range(1, 5):
        machine.poll(partial(began, machine, job, life))
        os.kill(machine.live(job).owner.pid, signal.SIGKILL)
    assert machine.until(job, "succeeded").attempt == 5


def test_a_run_that_the_system_kills_for_its_memory_fails_as_such_after_two_lives(
    build: Build, executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_VMSTAT", tmp_path / "vmstat")
    machine = build(executor=executor, checkpoint_s=1000.0)
    job = machine.submit(digits(100_000))
    for life in range(1, 3):
        machine.poll(partial(trains, machine, job, life))
        pid = machine.live(job).owner.pid
        (tmp_path / "vmstat").write_text(f"oom_kill {life}\n", encoding="ascii")
        os.kill(pid, signal.SIGKILL)
    job = machine.until(job, "failed")
    assert job.error is not None
    assert job.error["code"] == "out_of_memory"


def test_a_pause_frees_the_worker_and_a_resume_goes_on_bit_for_bit(calm: Machine, undisturbed: Outcome) -> None:
    job = calm.submit(digits(LONG))
    calm.saved(job)
    calm.stop(job, "pause")
    calm.until(job, "paused")
    assert calm.until(calm.submit(digits()), "succeeded").attempt == 1
    calm.store.jobs.resume(job.id)
    calm.poke()
    job = calm.until(job, "succeeded")
    assert outcome(calm, job) == undisturbed


def test_a_drain_gives_runs_back_and_burns_no_attempt(build: Build, executor: str, undisturbed: Outcome) -> None:
    machine = build(executor=executor)
    job = machine.submit(digits(LONG))
    pid = machine.live(job).owner.pid
    machine.drain()
    assert gone(pid)
    waiting = machine.store.jobs.get(job.id)
    assert (waiting.status, waiting.attempt) == ("queued", 0)
    machine.start()
    job = machine.until(job, "succeeded")
    assert job.attempt == 1
    assert outcome(machine, job) == undisturbed


def test_the_more_urgent_job_goes_first(build: Build, executor: str) -> None:
    machine = build(executor=executor, start=False)
    jobs = [machine.submit(digits() | {"priority": urgency}) for urgency in (0, 5, 0)]
    machine.start()
    ended = [machine.until(job, "succeeded") for job in jobs]
    order = sorted(ended, key=lambda job: job.started_at or job.created_at)
    assert [job.id for job in order] == [jobs[1].id, jobs[0].id, jobs[2].id]
