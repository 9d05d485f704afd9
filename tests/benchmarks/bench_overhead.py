"""What the service and its durability cost a training: MNIST through HTTP.

A job with checkpoints every 5 s against the same job without any (wall time from submit to end, in turns, on two
servers), and a job with checkpoints every 0.5 s, ten times the usual, against the engine called directly.
Needs ../shared/data.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service import storage
from service.client import Client
from service.storage import Checkpoint

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYERS = [{"kind": "flatten"}, {"kind": "dense", "units": 128, "activation": "relu"},
          {"kind": "dense", "units": 10, "activation": "softmax"}]  # fmt: skip
ROUNDS = 3
LONG_S = 12.0  # of one job, so that some checkpoints fall due
pytestmark = pytest.mark.benchmark
DIRECT = """
import json, sys, time
from pathlib import Path
from service.data import Dataset, prepare
from service.engine import Training
from service.specs import TrainSpec, examples_of, recipe_of, signature_of
spec = TrainSpec.model_validate_json(sys.argv[1])
train, test = (Dataset.open(Path(path)) for path in sys.argv[2:4])
began_s = time.perf_counter()
prepared = prepare(train, spec.dataset, "class", test=test)
training = Training(recipe_of(spec), signature_of(prepared), prepared.outline.outputs,
                    examples_of(prepared.train), None, examples_of(prepared.test))
for event in training:
    pass
print(json.dumps({"s": time.perf_counter() - began_s, "sha256": training.weights_sha256(), "scores": event.scores}))
"""


def upload(client: Client, part: str) -> dict[str, Any]:
    return client.upload(*(DATA / f"mnist_{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")))


def through_http(client: Client, spec: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    began_s = time.perf_counter()
    job = client.wait(client.submit({"type": "train", "spec": spec})["id"])
    took_s = time.perf_counter() - began_s
    assert job["status"] == "succeeded", job["error"]
    return took_s, client.run(job["run_id"])


def directly(run: dict[str, Any], blobs: list[Path]) -> dict[str, Any]:
    command = [sys.executable, "-c", DIRECT, json.dumps(run["spec"]), *map(str, blobs)]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, env=env).stdout)
    return found


@pytest.fixture(scope="module", autouse=True)
def data() -> None:
    if not DATA.is_dir():
        pytest.skip("needs the MNIST files of ../shared/data")


def spec_of(parts: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
    return {
        "dataset": {"id": parts[0]["id"], "target": "label", "test": {"id": parts[1]["id"]}},
        "network": {"layers": LAYERS},
        "training": {"epochs": epochs, "batch_size": 128, "seed": 1},
    }


def test_checkpoints_every_five_seconds_cost_next_to_nothing(serve: Any, tmp_path: Path) -> None:
    folders = {"5": tmp_path / "with", "1e9": tmp_path / "without"}
    with ExitStack() as stack:
        clients = []
        for seconds, folder in folders.items():
            url = serve(folder, NETWRIGHT_CHECKPOINT_S=seconds).url
            clients.append(stack.enter_context(Client(url)))
        specs = [spec_of([upload(client, part) for part in ("train", "t10k")], 1) for client in clients]
        for client, spec in zip(clients, specs, strict=True):
            took_s, _ = through_http(client, spec)
        epochs = max(1, round(LONG_S / took_s))
        pairs = []
        for _ in range(ROUNDS):
            ended = []
            for client, spec in zip(clients, specs, strict=True):
                ended.append(through_http(client, spec | {"training": spec["training"] | {"epochs": epochs}}))
            assert ended[0][1]["weights_sha256"] == ended[1][1]["weights_sha256"], "the same bits"
            pairs.append((ended[0][0], ended[1][0]))
    states = [len(checkpoints(folder)) for folder in folders.values()]
    shown = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in pairs)
    print(f"\n{epochs} epochs with checkpoints every 5 s / without: {shown} s; the last runs kept {states} states")
    print(f"median ratio {statistics.median(a / b for a, b in pairs):.3f}")


def checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """Of the newest run; at most three are kept, one of them that of its end."""
    store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
    found = store.runs.checkpoints(store.runs.list(limit=1).data[0].id, "state")
    store.close()
    return found


def test_a_job_takes_little_longer_than_its_training(serve: Any, tmp_path: Path) -> None:
    with Client(serve(tmp_path, NETWRIGHT_CHECKPOINT_S="0.5").url) as client:
        parts = [upload(client, part) for part in ("train", "t10k")]
        store = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
        blobs = [store.blobs.path(store.datasets.get(part["id"]).blob) for part in parts]
        store.close()
        spec = spec_of(parts, 5)
        through_http(client, spec)
        pairs = []
        for _ in range(ROUNDS):
            took_s, run = through_http(client, spec)
            direct = directly(run, blobs)
            assert run["weights_sha256"] == direct["sha256"], "the same bits"
            pairs.append((took_s, direct["s"]))
    shown = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in pairs)
    print(f"\njob with checkpoints every 0.5 s / engine: {shown} s")
    print(f"median ratio {statistics.median(a / b for a, b in pairs):.3f}")
    print(f"test accuracy {direct['scores']['test_accuracy']:.4f}")
