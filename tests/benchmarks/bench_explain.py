"""What answers that explain themselves cost and are worth, on MNIST through HTTP; `make bench-explain`.

Needs the data sets of ../shared/data; says so when they are missing.
"""

from __future__ import annotations

import gzip
import time

import bench_first_light as first
import numpy as np
import pytest

from service.client import Client, Document

pytestmark = pytest.mark.benchmark
client = first.client
ROWS = 20


def test_mnist_is_calibrated_by_a_temperature_and_attributions_are_complete(client: Client) -> None:
    held, stored = client.upload(*first.MNIST_TEST), client.upload(*first.MNIST)
    spec = {
        "dataset": {"id": stored["id"], "validation": 0.1, "test": {"id": held["id"]}},
        "network": {"layers": [{"kind": "flatten"}, *first.dense(128, 10)]},
        "optimizer": {"kind": "adam", "learning_rate": 0.001},
        "training": {"epochs": 12, "batch_size": 64, "seed": 1},
    }
    run, _ = first.train(client, spec)
    found = calibrated(client, run["id"], part="validation")
    told = calibrated(client, run["id"], part="test", temperature=found["temperature"])
    print(
        f"expected calibration error on test {told['error']:.4f}, with temperature {found['temperature']:.2f} "
        f"from validation {told['tempered_error']:.4f} (asked: lower)"
    )
    pixels = np.frombuffer(gzip.decompress(first.MNIST_TEST[0].read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
    begun = time.perf_counter()
    body = {"rows": pixels[:ROWS].tolist()}
    each = client.ask("POST", f"/v1/models/{run['id']}/attributions", json=body)["attributions"]
    took = (time.perf_counter() - begun) / ROWS
    gap = max(abs(np.sum(next(iter(one["features"].values()))) - (one["answer"] - one["baseline"])) for one in each)
    print(f"integrated gradients of {ROWS} digits: largest gap {gap:.1e} (asked 1e-3), {1e3 * took:.0f} ms each")


def calibrated(client: Client, model: str, **asked: object) -> Document:
    job = client.wait(client.submit({"type": "evaluate", "spec": {"model": model} | asked})["id"], timeout_s=60)
    assert job["status"] == "succeeded", job["error"]
    found: Document = client.ask("GET", f"/v1/runs/{job['run_id']}/calibration")
    return found
