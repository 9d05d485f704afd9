"""Whatever process dies, a run is finished once: the server, a worker, or both."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from flow_runs import PATIENCE_S, QUICK, Serve, gone, job, look, outcome, poll, training

from service.client import Client

LONG = 800  # epochs that last longer than a server takes to start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_run_outlives_its_server_and_is_adopted_by_the_next(serve: Serve, folder: Path) -> None:
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        expected = outcome(client, client.submit(job(LONG))["id"])
        job_id = client.submit(job(LONG))["id"]
        store = look(folder)
        worker = training(store).owner.pid
        first.process.kill()
        first.process.wait()
    second = serve(folder, **QUICK)
    with Client(second.url) as client:
        assert not gone(worker), "it goes on without a server"
        sha256, points, attempts = outcome(client, job_id)
        assert (sha256, points, attempts) == expected
        poll(lambda: gone(worker), 5)
        assert client.wait(client.submit(job())["id"], timeout_s=PATIENCE_S)["status"] == "succeeded"
    store.close()


def test_a_run_whose_server_and_worker_died_goes_on_with_the_next_server(serve: Serve, folder: Path) -> None:
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        sha256, points, _ = outcome(client, client.submit(job())["id"])
        job_id = client.submit(job())["id"]
    store = look(folder)
    worker = training(store).owner.pid
    first.process.kill()
    os.kill(worker, signal.SIGKILL)
    first.process.wait()
    second = serve(folder, **QUICK)
    began_s = time.monotonic()
    poll(lambda: any(live.owner.pid != worker for live in store.runs.live()), 10)
    assert time.monotonic() - began_s < 5, "nobody waits for the lease of a process that is seen dead"
    store.close()
    with Client(second.url) as client:
        assert outcome(client, job_id) == (sha256, points, 2)


def test_a_killed_worker_costs_a_user_nothing(serve: Serve, folder: Path) -> None:
    server = serve(folder, **QUICK)
    store = look(folder)
    with Client(server.url) as client:
        sha256, points, _ = outcome(client, client.submit(job())["id"])
        job_id = client.submit(job())["id"]
        os.kill(training(store).owner.pid, signal.SIGKILL)
        assert outcome(client, job_id) == (sha256, points, 2)
    store.close()
