"""What the service adds to the engine, on real data through HTTP; `make bench-first-light`.

A server of its own is started in a folder of its own; MNIST's files and adult's tables go up as they are.
Needs the data sets of ../shared/data; says so when they are missing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import storage
from service.client import Client, Document
from service.data import Dataset, prepare
from service.engine import Finished, Training
from service.specs import TrainSpec, examples_of, recipe_of, signature_of

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MNIST = [DATA / f"mnist_train-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
MNIST_TEST = [DATA / f"mnist_t10k-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
ROUNDS = 3


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    if not DATA.exists():
        pytest.skip("needs the data sets of ../shared/data")
    begun = time.perf_counter()
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    with Client(server.stdout.readline().split()[-1]) as client:
        client.ask("GET", "/health/ready")
        started = time.perf_counter() - begun
        print(f"\nstart to first answered request {started:.2f} s, resident {resident_mib(server.pid):.0f} MiB")
        yield client
    server.terminate()
    server.communicate(timeout=10)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def dense(*units: int) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = [{"kind": "dense", "units": n, "activation": "relu"} for n in units]
    layers[-1]["activation"] = "softmax"
    return layers


def train(client: Client, spec: Document) -> tuple[Document, float]:
    """(run, seconds the job took by its own record)."""
    job = client.wait(client.submit({"type": "train", "spec": spec})["id"], timeout_s=600)
    assert job["status"] == "succeeded", job["error"]
    return client.run(job["run_id"]), seconds(job)


def seconds(job: Document) -> float:
    begin, end = (np.datetime64(str(job[name]).rstrip("Z")) for name in ("started_at", "ended_at"))
    return float((end - begin) / np.timedelta64(1, "us")) / 1e6


def test_mnist_costs_little_more_than_the_engine_alone(client: Client, tmp_path: Path) -> None:
    held = client.upload(*MNIST_TEST, name="mnist-test")
    stored = client.upload(*MNIST, name="mnist")
    spec = {
        "dataset": {"id": stored["id"], "test": {"id": held["id"]}},
        "network": {"layers": [{"kind": "flatten"}, *dense(128, 10)]},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": 0.001},
        "training": {"epochs": 5, "batch_size": 64, "seed": 1},
        "metrics": ["accuracy"],
    }
    folder = tmp_path / "data"
    alone, through = [], []
    for _ in range(ROUNDS):
        alone.append(engine_alone(folder, client, spec, stored["id"], held["id"]))
        run, took = train(client, spec)
        through.append(took)
    print(f"test accuracy {run['summary']['test_accuracy']['last']:.4f} (asked 0.975)")
    job, engine = statistics.median(through), statistics.median(alone)
    print(f"job {job:.2f} s, engine alone {engine:.2f} s: {job / engine:.3f} x (asked 1.10)")


def engine_alone(folder: Path, client: Client, spec: Document, train_id: str, test_id: str) -> float:
    """Seconds of the same training in a process that does nothing else, one BLAS thread."""
    blobs = [blob_of(folder, each) for each in (train_id, test_id)]
    code = f"import bench_first_light as b; print(b.direct({[str(b) for b in blobs]!r}, {spec!r}))"
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def blob_of(folder: Path, dataset_id: str) -> Path:
    store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
    try:
        return store.blobs.path(store.datasets.get(dataset_id).blob)
    finally:
        store.close()


def direct(blobs: list[str], spec: Document) -> float:
    asked = TrainSpec.model_validate_json(json.dumps(spec))
    begun = time.perf_counter()
    data, held = (Dataset.open(Path(blob)) for blob in blobs)
    prepared = prepare(data, asked.dataset, "class", test=held)
    assert prepared.test is not None
    training = Training(
        recipe_of(asked), signature_of(prepared), prepared.outline.outputs,
        examples_of(prepared.train), None, examples_of(prepared.test),
    )  # fmt: skip
    assert any(isinstance(event, Finished) for event in training)
    return time.perf_counter() - begun


def test_adult_as_uploaded(client: Client) -> None:
    held, stored = (client.upload(DATA / f"adult_{part}.csv") for part in ("test", "train"))
    spec = {
        "dataset": {"id": stored["id"], "validation": 0.1, "test": {"id": held["id"]}},
        "network": {"layers": dense(64, 32, 2)},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": 0.001},
        "training": {"epochs": 15, "batch_size": 128, "seed": 1, "early_stopping": {"patience": 3}},
        "metrics": ["accuracy"],
    }
    run, took = train(client, spec)
    print(f"adult: test accuracy {run['summary']['test_accuracy']['last']:.4f} (asked 0.85), {took:.1f} s")


def test_submit_to_first_step(client: Client) -> None:
    """One step an epoch, for points are told at an epoch's end."""
    spec = {
        "dataset": {"sample": "iris"}, "network": {"layers": dense(16, 3)}, "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam"}, "training": {"epochs": 2, "batch_size": 150, "seed": 1},
    }  # fmt: skip
    waits, sizes = [], []
    for _ in range(50):
        begun = time.time()
        job = client.submit({"type": "train", "spec": spec})
        sizes.append(len(str(job)))
        done = client.wait(job["id"], timeout_s=20)
        series = client.series(done["run_id"], ["batch_loss"])
        waits.append(series["batch_loss"]["times"][0] - begun * 1e3)
    print(
        f"submit to first step p50 {statistics.median(waits):.1f} ms (asked 20), reply {max(sizes)} bytes (asked 4096)"
    )
