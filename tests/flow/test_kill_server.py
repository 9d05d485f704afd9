"""Whatever process dies or is told to leave, a run is finished once: the server, a worker, or both."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flow_runs import PATIENCE_S, QUICK, Outcome, Serve, gone, job, look, outcome, poll, training

from service.client import Client

LONG_LEASE = {"NETWRIGHT_LEASE_S": "10000"}  # nobody waits for that of a process that is seen dead


@dataclass
class Relay:
    """Servers on one folder, one after the other: a test leaves the next one to the test after it."""

    serve: Serve
    folder: Path
    server: Any = None

    def next(self) -> str:
        self.server = self.serve(self.folder, **QUICK | LONG_LEASE)
        return str(self.server.url)

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()


@pytest.fixture(scope="module")
def relay(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Relay:
    relay = Relay(serve, tmp_path_factory.mktemp("relay") / "data")
    relay.next()
    return relay


@pytest.fixture(scope="module")
def undisturbed(relay: Relay) -> Outcome:
    """What the job comes to when nobody disturbs it."""
    with Client(relay.server.url) as client:
        return outcome(client, client.submit(job())["id"])


def test_a_run_outlives_its_server_and_is_adopted_by_the_next(relay: Relay, undisturbed: Outcome) -> None:
    with Client(relay.server.url) as client:
        job_id = client.submit(job())["id"]
    store = look(relay.folder)
    worker = training(store).owner.pid
    relay.kill()
    with Client(relay.next()) as client:
        assert outcome(client, job_id) == undisturbed, "in its first life"
        poll(lambda: gone(worker))
        assert client.wait(client.submit(job(1))["id"], timeout_s=PATIENCE_S)["status"] == "succeeded"
    store.close()


def test_a_run_whose_server_and_worker_died_goes_on_with_the_next_server(relay: Relay, undisturbed: Outcome) -> None:
    with Client(relay.server.url) as client:
        job_id = client.submit(job())["id"]
    store = look(relay.folder)
    worker = training(store).owner.pid
    relay.server.process.kill()
    os.kill(worker, signal.SIGKILL)
    relay.server.process.wait()
    url = relay.next()
    poll(lambda: any(live.owner.pid != worker for live in store.runs.live()))
    store.close()
    with Client(url) as client:
        assert outcome(client, job_id) == (*undisturbed[:2], 2)


def test_a_killed_worker_costs_a_user_nothing(relay: Relay, undisturbed: Outcome) -> None:
    store = look(relay.folder)
    with Client(relay.server.url) as client:
        job_id = client.submit(job())["id"]
        os.kill(training(store).owner.pid, signal.SIGKILL)
        assert outcome(client, job_id) == (*undisturbed[:2], 2)
    store.close()


def test_sigterm_gives_runs_back_and_the_next_server_goes_on(relay: Relay, undisturbed: Outcome) -> None:
    with Client(relay.server.url) as client:
        job_id = client.submit(job())["id"]
    store = look(relay.folder)
    worker = training(store).owner.pid
    assert relay.server.stop() == 0
    assert gone(worker)
    waiting = store.jobs.get(job_id)
    assert (waiting.status, waiting.attempt) == ("queued", 0), "no attempt was burned"
    store.close()
    with Client(relay.next()) as client:
        assert outcome(client, job_id) == undisturbed
