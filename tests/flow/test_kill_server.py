"""Whatever process dies or is told to leave, a run is finished once: the server, a worker, or both."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from flow_runs import PATIENCE_S, QUICK, Outcome, Serve, gone, job, look, outcome, poll, training

from service.client import Client


@pytest.fixture(scope="module")
def undisturbed(serve: Serve) -> Outcome:
    """What the job comes to when nobody disturbs it."""
    with Client(serve(None, **QUICK).url) as client:
        return outcome(client, client.submit(job())["id"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_run_outlives_its_server_and_is_adopted_by_the_next(serve: Serve, folder: Path, undisturbed: Outcome) -> None:
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        job_id = client.submit(job())["id"]
    store = look(folder)
    worker = training(store).owner.pid
    first.process.kill()
    first.process.wait()
    second = serve(folder, **QUICK)
    with Client(second.url) as client:
        assert outcome(client, job_id) == undisturbed, "in its first life"
        poll(lambda: gone(worker))
        assert client.wait(client.submit(job(1))["id"], timeout_s=PATIENCE_S)["status"] == "succeeded"
    store.close()


def test_a_run_whose_server_and_worker_died_goes_on_with_the_next_server(
    serve: Serve, folder: Path, undisturbed: Outcome
) -> None:
    no_lease = QUICK | {"NETWRIGHT_LEASE_S": "10000"}  # nobody waits for that of a process that is seen dead
    first = serve(folder, **no_lease)
    with Client(first.url) as client:
        job_id = client.submit(job())["id"]
    store = look(folder)
    worker = training(store).owner.pid
    first.process.kill()
    os.kill(worker, signal.SIGKILL)
    first.process.wait()
    second = serve(folder, **no_lease)
    poll(lambda: any(live.owner.pid != worker for live in store.runs.live()))
    store.close()
    with Client(second.url) as client:
        assert outcome(client, job_id) == (*undisturbed[:2], 2)


def test_a_killed_worker_costs_a_user_nothing(serve: Serve, folder: Path, undisturbed: Outcome) -> None:
    server = serve(folder, **QUICK)
    store = look(folder)
    with Client(server.url) as client:
        job_id = client.submit(job())["id"]
        os.kill(training(store).owner.pid, signal.SIGKILL)
        assert outcome(client, job_id) == (*undisturbed[:2], 2)
    store.close()


def test_sigterm_gives_runs_back_and_the_next_server_goes_on(serve: Serve, folder: Path, undisturbed: Outcome) -> None:
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        job_id = client.submit(job())["id"]
    store = look(folder)
    worker = training(store).owner.pid
    assert first.stop() == 0
    assert gone(worker)
    waiting = store.jobs.get(job_id)
    assert (waiting.status, waiting.attempt) == ("queued", 0), "no attempt was burned"
    store.close()
    second = serve(folder, **QUICK)
    with Client(second.url) as client:
        assert outcome(client, job_id) == undisturbed
