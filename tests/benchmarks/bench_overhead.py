"""What the service costs a training: MNIST through HTTP, against the engine called directly on the same spec.

`python tests/benchmarks/bench_overhead.py`: the ratio of the job's wall time (from submit to its end) to preparing and
training in one process with one BLAS thread; and of the same job with checkpoints every 0.5 s (ten times the usual).
Needs ../shared/data.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service import storage
from service.client import Client

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYERS = [{"kind": "flatten"}, {"kind": "dense", "units": 128, "activation": "relu"},
          {"kind": "dense", "units": 10, "activation": "softmax"}]  # fmt: skip
ROUNDS = 3
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


@contextmanager
def server(data_dir: Path, **environ: str) -> Iterator[str]:
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(data_dir), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environ)
    assert process.stdout is not None
    said = re.search(r"http://\S+", process.stdout.readline())
    assert said is not None
    try:
        yield said.group()
    finally:
        process.terminate()
        process.wait()


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


def main() -> None:
    if not DATA.is_dir():
        sys.exit("needs the MNIST files in ../shared/data")
    for checkpoint_s in ("5", "0.5"):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), checkpoint_s)


def compare(folder: Path, checkpoint_s: str) -> None:
    with server(folder, NETWRIGHT_CHECKPOINT_S=checkpoint_s) as url, Client(url) as client:
        parts = [upload(client, part) for part in ("train", "t10k")]
        store = storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)
        blobs = [store.blobs.path(store.datasets.get(part["id"]).blob) for part in parts]
        store.close()
        spec = {
            "dataset": {"id": parts[0]["id"], "target": "label", "test": {"id": parts[1]["id"]}},
            "network": {"layers": LAYERS},
            "training": {"epochs": 5, "batch_size": 128, "seed": 1},
        }
        through_http(client, spec)
        pairs = []
        for _ in range(ROUNDS):
            took_s, run = through_http(client, spec)
            direct = directly(run, blobs)
            assert run["weights_sha256"] == direct["sha256"], "the same bits"
            pairs.append((took_s, direct["s"]))
        ratio = statistics.median(a / b for a, b in pairs)
        shown = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in pairs)
        print(f"checkpoints every {checkpoint_s} s: job / engine {shown} s, median ratio {ratio:.3f}")
        print(f"test accuracy {direct['scores']['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
