"""One worker process by itself, without a supervisor: what it is told on its pipe, and when it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest
from jobs_machine import LONG, Build, Machine, digits, freeze

from service.jobs import process
from service.jobs.local import environment
from service.storage import Attempt

Start = Callable[[Machine], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers and waits until they are warm."""
    started: list[subprocess.Popen[bytes]] = []

    def warm(machine: Machine) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "service.jobs"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(machine.settings, 1), bufsize=0,
        )  # fmt: skip
        started.append(worker)
        assert said(worker) == b"ready\n"
        return worker

    yield warm
    for worker in started:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            assert pipe is not None
            pipe.close()


def said(worker: subprocess.Popen[bytes]) -> bytes:
    assert worker.stdout is not None
    return worker.stdout.readline()


def give(machine: Machine, worker: subprocess.Popen[bytes], lease_s: float = 60.0) -> Attempt:
    """Claims the next run for the worker and hands it over."""
    attempt = machine.store.runs.claim(process.owner_of(worker.pid), lease_s)
    assert attempt is not None
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(asdict(attempt)).encode() + b"\n")
    return attempt


def test_a_worker_executes_one_attempt_a_line(build: Build, start: Start) -> None:
    machine = build(start=False)
    worker = start(machine)
    for _ in range(2):
        job = machine.submit(digits(1))
        give(machine, worker)
        assert said(worker) == b"done\n"
        assert machine.store.jobs.get(job.id).status == "succeeded"


def test_at_the_end_of_its_input_a_worker_finishes_its_attempt_and_leaves(build: Build, start: Start) -> None:
    machine = build(start=False)
    worker = start(machine)
    job = machine.submit(digits(LONG))
    give(machine, worker)
    assert worker.stdin is not None
    machine.live(job)
    worker.stdin.close()
    assert worker.wait(60) == 0
    assert machine.store.jobs.get(job.id).status == "succeeded"


def test_a_worker_told_to_leave_gives_its_run_back_and_leaves_no_words(build: Build, start: Start) -> None:
    machine = build(start=False)
    worker = start(machine)
    job = machine.submit(digits(100_000))
    give(machine, worker)
    step = machine.saved(job)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(3) == 0
    assert machine.store.jobs.get(job.id).status == "queued"
    assert machine.saved(job, step), "with everything it has learned"
    assert process.last_words(machine.settings.data_dir, worker.pid) == ""


def test_an_idle_worker_told_to_leave_does(build: Build, start: Start) -> None:
    worker = start(build(start=False))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(3) == 0


def test_a_zombie_that_wakes_writes_nothing_and_waits_for_other_work(build: Build, start: Start) -> None:
    machine = build(start=False)
    zombie, heir = start(machine), start(machine)
    whole = machine.submit(digits(LONG))
    give(machine, heir)
    assert said(heir) == b"done\n"
    job = machine.submit(digits(LONG))
    old = give(machine, zombie)
    machine.saved(job)
    freeze(machine, zombie.pid)
    machine.store.runs.lose(old, "frozen")
    give(machine, heir)
    machine.poll(lambda: machine.events(job, "resumed"))
    before = [each.id for each in machine.events(job)]
    os.kill(zombie.pid, signal.SIGCONT)
    assert said(zombie) == b"done\n"
    assert said(heir) == b"done\n"
    assert machine.store.jobs.get(job.id).status == "succeeded"
    assert machine.points(job) == machine.points(whole)
    assert machine.run(job).weights_sha256 == machine.run(whole).weights_sha256
    kinds = [each.kind for each in machine.events(job) if each.id not in before]
    assert kinds.count("finished") == 1
    states = machine.store.runs.checkpoints(job.run_ids[0], "state")
    assert states[0].token == old.token + 1
    machine.submit(digits(1))
    give(machine, zombie)
    assert said(zombie) == b"done\n"


def test_an_owner_is_not_mistaken_for_a_later_process_of_its_number() -> None:
    me = process.owner_of(os.getpid())
    assert process.alive(me)
    assert not process.alive(type(me)(me.pid, str(int(me.started) - 1), me.boot_id))
    assert not process.alive(type(me)(me.pid, me.started, "another start of the machine"))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    owner = process.owner_of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive(owner), "dead, though nobody has buried it"
    child.wait()
    assert not process.alive(owner)
