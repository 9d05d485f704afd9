"""Watching a job: nothing is lost or doubled when the server goes and comes back, and leaving early harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx

from service.client import Client

LONG: dict[str, Any] = {
    "type": "train",
    "spec": {
        "dataset": {"sample": "digits", "target": "label"},
        "network": {"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]},
        "loss": {"kind": "cross_entropy"},
        "training": {"epochs": 100_000, "batch_size": 32, "seed": 1},
    },
}


def test_a_watcher_sees_every_event_once_though_the_server_is_restarted(serve: Callable[..., Any]) -> None:
    first = serve(None, "--workers", "1")
    port = first.url.rsplit(":", 1)[1]
    seen: list[dict[str, Any]] = []
    with Client(first.url) as client:
        job = client.submit(LONG)
        watching = threading.Thread(target=lambda: seen.extend(client.follow(job["id"])))
        watching.start()
        _until_epoch(client, job["id"])
        assert first.stop() == 0
        second = serve(first.data_dir, "--workers", "1", "--port", port)
        assert second.url == first.url
        _until_epoch(client, job["id"], after=_last(client, job["id"]))
        client.cancel(job["id"])
        watching.join(30)
        assert not watching.is_alive()
        stored = client.ask("GET", f"/v1/jobs/{job['id']}/events", params={"limit": 1000})["data"]
    assert [event["id"] for event in seen if event.get("id")] == [event["id"] for event in stored]
    kinds = [event["kind"] for event in stored]
    assert kinds.count("started") == 2  # one life before the restart, one after
    assert kinds[-1] == "finished"


def _until_epoch(client: Client, job_id: str, after: int = 0) -> None:
    for event in client.follow(job_id, after=after):
        if event["kind"] == "epoch":
            return


def _last(client: Client, job_id: str) -> int:
    return int(client.ask("GET", f"/v1/jobs/{job_id}/events", params={"limit": 1000})["next"])


def test_watchers_that_leave_early_leave_nothing_behind(serve: Callable[..., Any]) -> None:
    server = serve(None, "--workers", "1")
    with Client(server.url) as client:
        job = client.submit(LONG)
        for _ in range(20):
            with httpx.stream(
                "GET", f"{server.url}/v1/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}
            ) as answer:
                assert next(answer.iter_lines()).startswith("retry:")
        client.cancel(job["id"])
        assert client.wait(job["id"], timeout_s=20)["status"] == "cancelled"
    assert server.stop() == 0
    log = server.log.read_text("utf-8")
    assert "broke" not in log
    assert '"trace"' not in log
