"""How soon a job begins: from the first byte of the request to the first step of training, as an observer sees it.

"seen" is when the store tells an observer, "done"
the worker's own time at the end of the first epoch, which is three steps.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import storage
from service.storage import Store

pytestmark = pytest.mark.benchmark
COUNT = 100
JOB = {
    "type": "train",
    "spec": {
        "dataset": {"sample": "iris"},
        "network": {
            "layers": [
                {"kind": "dense", "units": 16, "activation": "relu"},
                {"kind": "dense", "units": 3, "activation": "softmax"},
            ]
        },
        "training": {"epochs": 2, "batch_size": 64, "log_every": 1},
    },
}
NAMES = ("reply", "claim seen", "training seen", "three steps done")


def one(client: httpx.Client, store: Store) -> tuple[float, float, float, float]:
    """Milliseconds to the reply, to the claim, to the beginning of training, and to the first steps."""
    began_s, began_at = time.perf_counter(), time.time()
    job: dict[str, Any] = client.post("/v1/jobs", json=JOB).raise_for_status().json()
    replied_s = time.perf_counter()
    claimed_s = until(store, job["id"], "started")
    begun_s = until(store, job["id"], "training")
    until(store, job["id"], "finished")
    stepped_at = store.metrics.series(job["run_id"], ["batch_loss"])["batch_loss"].times[0] / 1000
    time.sleep(0.05)
    reply, claim, begin = (1000 * (each - began_s) for each in (replied_s, claimed_s, begun_s))
    return reply, claim, begin, 1000 * (stepped_at - began_at)


def until(store: Store, job_id: str, kind: str) -> float:
    version = -1
    while True:
        now = store.events.version()
        if now != version and any(event.kind == kind for event in store.events.after(0, job_id=job_id)):
            return time.perf_counter()
        version = now
        time.sleep(0.0002)


def test_a_job_begins_soon(serve: Any, tmp_path: Path) -> None:
    url = serve(tmp_path).url
    store = storage.open(f"sqlite:///{tmp_path}/netwright.db", tmp_path)
    with httpx.Client(base_url=url, timeout=30) as client:
        for _ in range(5):
            one(client, store)
        taken = [one(client, store) for _ in range(COUNT)]
    store.close()
    print()
    for name, values in zip(NAMES, zip(*taken, strict=True), strict=True):
        ordered = sorted(values)
        print(f"{name:17} p50 {statistics.median(ordered):6.1f} ms   p99 {ordered[int(0.99 * COUNT)]:6.1f} ms")
