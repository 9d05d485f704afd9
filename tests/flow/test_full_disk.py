"""A server whose disk is full refuses in words, keeps what it has, and goes on when there is room again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from flow_runs import QUICK, Serve, job

from service.client import ApiError, Client

TABLE = b"a,b\n1,2\n3,4\n5,6\n"


@contextmanager
def full(server: Any) -> Iterator[None]:
    """For this process alone: the kernel refuses what it writes beyond a file's first 4 KiB."""
    pid = server.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.json()["code"] == "storage_full"
    assert "disk" in answer.json()["detail"]


def test_a_full_disk_is_told_nothing_is_half_written_and_no_restart_is_needed(serve: Serve) -> None:
    server = serve(None, **QUICK)
    with Client(server.url) as client, httpx.Client(base_url=server.url) as http:
        before = client.wait(client.submit(job(3))["id"])
        with full(server):
            for _ in range(2):
                refused(http.post("/v1/jobs", json=job(3), headers={"Idempotency-Key": "k"}))
            refused(http.post("/v1/datasets", files={"file": ("large.csv", TABLE * 10_000)}))
            refused(http.post("/v1/datasets", files={"file": ("buffered.csv", TABLE * 400)}))  # fails at close as well
            refused(http.post("/v1/datasets", files={"file": ("small.csv", TABLE)}))
            refused(http.post("/v1/datasets", files={"file": ("grows.csv", "x\n" + ".5\n" * 1300)}))  # 4 bytes each
            rows = [{"x": at / 7, "y": at / 3} for at in range(1300)]
            spec = {"dataset": {"rows": rows}, "network": {"layers": [{"kind": "dense", "units": 1}]}}
            refused(http.post("/v1/plans", json={"type": "train", "spec": spec}))
            assert http.get("/health/live").status_code == 200
            assert client.job(before["id"])["status"] == "succeeded"
            assert len(http.get("/v1/jobs").json()["data"]) == 1
            with pytest.raises(ApiError):
                client.cancel("job_nobody")
        blobs = server.data_dir / "blobs" / "new"
        assert not list(blobs.iterdir())
        assert not [path for path in (server.data_dir / "tmp").rglob("*") if path.is_file()]
        again = http.post("/v1/jobs", json=job(3), headers={"Idempotency-Key": "k"})
        assert again.status_code == 202
        after = client.wait(again.json()["id"])
        assert client.run(after["run_id"])["weights_sha256"] == client.run(before["run_id"])["weights_sha256"]
        assert http.post("/v1/datasets", files={"file": ("small.csv", TABLE)}).status_code == 201
