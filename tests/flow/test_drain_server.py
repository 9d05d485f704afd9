"""A server that is asked to leave takes care of its runs first."""

from __future__ import annotations

import time
from pathlib import Path

from flow_runs import QUICK, Serve, gone, job, look, outcome, poll, training

from service.client import Client


def test_sigterm_gives_runs_back_within_three_seconds_and_the_next_server_goes_on(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        expected = outcome(client, client.submit(job())["id"])
        job_id = client.submit(job())["id"]
    store = look(folder)
    worker = training(store).owner.pid
    began_s = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began_s <= 3.0
    assert gone(worker)
    waiting = store.jobs.get(job_id)
    assert (waiting.status, waiting.attempt) == ("queued", 0), "no attempt was burned"
    store.close()
    second = serve(folder, **QUICK)
    with Client(second.url) as client:
        assert outcome(client, job_id) == expected


def test_a_second_drain_in_a_row_changes_nothing(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = serve(folder, **QUICK)
    with Client(first.url) as client:
        job_id = client.submit(job())["id"]
    assert first.stop() == 0
    store = look(folder)
    for _ in range(2):
        server = serve(folder, **QUICK)
        poll(lambda: store.runs.live() or store.jobs.get(job_id).status == "succeeded")
        assert server.stop() == 0
    store.close()
    server = serve(folder, **QUICK)
    with Client(server.url) as client:
        sha256, points, attempts = outcome(client, job_id)
        assert attempts == 1
        assert (sha256, points) == outcome(client, client.submit(job())["id"])[:2]
