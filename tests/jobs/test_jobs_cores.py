"""A job alone on the machine works with two processes, beside another one with one; none is left behind."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jobs_machine import Build, Machine, digits, gone

from service.config import Settings
from service.jobs import cores, local
from service.storage import Job

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)
ENOUGH, SOME = 100_000, 250  # epochs: more than anyone waits for; a second or two


def big(epochs: int = ENOUGH) -> dict[str, Any]:
    return digits(epochs, training={"batch_size": 64, "shards": 2})


def helpers(machine: Machine, job: Job) -> list[int]:
    """The processes that the job's worker has started."""
    pid = machine.live(job).owner.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_process_has_as_many_blas_threads_as_it_was_granted(tmp_path: Path) -> None:
    for granted in (1, 2):
        environment = local.environment(Settings(data_dir=tmp_path), granted)
        command = [sys.executable, "-c", "import numpy; print(flush=True); input()"]
        with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1) as numpy:
            assert numpy.stdout is not None
            numpy.stdout.readline()
            found = threads(numpy.pid)
            numpy.kill()
        assert found == granted  # so counting them shows one too many


def test_the_lone_job_has_two_processes_unless_another_job_or_a_caller_wants_a_core(build: Build) -> None:
    machine = build(workers=2)
    first = machine.submit(big())
    (helper,) = machine.poll(lambda: helpers(machine, first))
    worker = machine.live(first).owner.pid
    assert (threads(worker), threads(helper)) == (2, 1)  # the training and its reporter; the help: none of BLAS's
    second = machine.submit(big())
    machine.poll(lambda: helpers(machine, first) == [])
    assert gone(helper)
    assert helpers(machine, second) == []
    assert threads(machine.live(second).owner.pid) == 2
    machine.stop(second, "cancel")
    machine.until(second, "cancelled")
    machine.poll(lambda: helpers(machine, first))
    machine.store.tally.share("server")

    def answered_and_alone() -> bool:
        machine.store.tally["predict"].add(0.05)
        return helpers(machine, first) == []

    machine.poll(answered_and_alone)
    session = Path(f"/proc/{worker}/autogroup")
    if session.exists() and session.read_text():  # the system shares out its cores so
        machine.poll(lambda: session.read_text().endswith(" nice 10\n"))
    machine.stop(first, "cancel")
    machine.until(first, "cancelled")


def until_lost(machine: Machine, job: Job, times: int) -> None:
    machine.poll(lambda: len(machine.events(job, "lost")) == times)


def test_a_killed_process_of_two_leaves_no_orphan_and_costs_no_bit(build: Build) -> None:
    machine = build(workers=1)
    undisturbed, job = machine.submit(big(SOME)), machine.submit(big(SOME))
    machine.until(undisturbed, "succeeded")
    for losses, killed in enumerate(("helper", "worker"), start=1):
        (helper,) = machine.poll(lambda: helpers(machine, job))
        worker = machine.live(job).owner.pid
        if killed == "worker":
            machine.saved(job)
        os.kill(helper if killed == "helper" else worker, signal.SIGKILL)
        until_lost(machine, job, losses)
        machine.poll(functools.partial(gone, helper))
    machine.until(job, "succeeded")
    assert machine.run(job).weights_sha256 == machine.run(undisturbed).weights_sha256
    assert machine.points(job) == machine.points(undisturbed)


def test_the_second_core_comes_back_some_seconds_after_the_last_busy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answering = [100.0], [7.0]
    monkeypatch.setattr(cores, "monotonic_s", lambda: now[0])
    asked = cores.Asked(lambda: answering[0])
    # (seconds later, seconds of answering since): whether the core is wanted
    for later, more, expected in [
        (0.0, 0.0, False), (0.5, 0.001, False), (0.5, 0.1, True), (1.0, 0.0, True), (1.9, 0.0, True), (0.2, 0.0, False),
        (0.3, 0.1, True),
    ]:  # fmt: skip
        now[0] += later
        answering[0] += more
        assert asked() is expected
