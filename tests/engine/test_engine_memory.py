"""Memory: what a run takes is what its plan said, seen by the kernel; images stay bytes; steps leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engine import Examples, Recipe, Signature, Tick, Training
from service.engine import training as training_module

Json = dict[str, Any]


def dense(units: int, activation: str | None = None) -> Json:
    return {"kind": "dense", "units": units} | ({"activation": activation} if activation else {})


PIXELS: Json = {"signature": {"shape": [28, 28, 1], "dtype": "uint8", "scale": 1 / 255}, "outputs": 10, "rows": 6000}
VECTORS: Json = {"signature": {"shape": [500], "dtype": "uint8", "scale": 1 / 255}, "outputs": 10, "rows": 20_000}
LETTERS: Json = {"signature": {"shape": [50], "dtype": "int32", "vocabulary": 65}, "outputs": 65, "rows": 600}
SERIES: Json = {"signature": {"shape": [60, 12]}, "outputs": 3, "rows": 2000}
MLP = [dense(300, "gelu"), dense(300, "relu"), dense(10)]
CNN = [
    {"kind": "conv2d", "filters": 32, "kernel_size": 3, "activation": "relu"}, {"kind": "max_pool2d", "pool_size": 2},
    {"kind": "conv2d", "filters": 64, "kernel_size": 3}, {"kind": "batch_norm"}, {"kind": "relu"},
    {"kind": "max_pool2d", "pool_size": 2}, {"kind": "flatten"}, {"kind": "dropout", "rate": 0.25},
    dense(128, "relu"), dense(10, "softmax"),
]  # fmt: skip
LSTM = [{"kind": "lstm", "units": 128}, {"kind": "lstm", "units": 128}, dense(65, "softmax")]
GRU = [{"kind": "gru", "units": 64, "recurrent_dropout": 0.2}, {"kind": "gru", "units": 64, "output": "last"}, dense(3)]
RUNS: dict[str, Json] = {
    "mlp-16": VECTORS | {"layers": MLP, "training": {"batch_size": 16}},
    "mlp-64-units": VECTORS | {"layers": MLP, "training": {"batch_size": 64, "cut": "units"}},
    "mlp-2000": VECTORS | {"layers": MLP, "training": {"batch_size": 2000, "shards": 1}},
    "cnn": PIXELS | {"layers": CNN, "training": {"batch_size": 64, "max_steps": 8}},
    "lstm": LETTERS | {"layers": LSTM, "training": {"batch_size": 50, "stateful": True}},
    "gru": SERIES | {"layers": GRU, "training": {"batch_size": 64}},
}
MEASURE = """
import gc, json, os, sys
from pathlib import Path
import numpy as np
from service.engine import Examples, Recipe, Signature, Training, plan

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

def prepared(it, rows, batch):
    given = it["signature"] | {"shape": tuple(it["signature"]["shape"])}
    signature, outputs = Signature(**given), it["outputs"]
    recipe = Recipe.model_validate({"network": {"layers": it["layers"]}, "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam"}, "training": it["training"] | {"epochs": 1, "batch_size": batch}})
    y_shape = (rows, *signature.shape) if signature.vocabulary else (rows,)
    x, y = np.zeros((rows, *signature.shape), signature.dtype), np.zeros(y_shape, np.int32)
    x += np.random.default_rng(0).integers(0, 9, x.shape, x.dtype) if x.dtype.kind in "iu" else 0.5
    return recipe, signature, outputs, Examples(x, y)

def train(recipe, signature, outputs, examples):
    training = Training(recipe, signature, outputs, examples, Examples(examples.x[:300], examples.y[:300]))
    list(training)
    training.state()

def run(it):
    train(*prepared(it, 4, 2))  # what Python and the library of products take once is not the run's
    gc.collect()
    examples = prepared(it, it["rows"], it["training"]["batch_size"])
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmHWM") - sum(each.nbytes for each in (examples[-1].x, examples[-1].y)) // 1024
    train(*examples)
    return plan(*examples[:3], it["rows"]).bytes, 1024 * (kilobytes("VmHWM") - before)

for name, it in json.load(sys.stdin).items():
    if os.fork() == 0:
        print(name, *run(it), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[int, int]]:
    """(bytes of the plan, bytes at the peak of the run) of each, every one in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs /proc to measure memory")
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(RUNS), env=env, capture_output=True, text=True, check=True
    )
    return {name: (int(said), int(peak)) for name, said, peak in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.parametrize("name", RUNS)
def test_the_peak_of_a_run_is_what_the_plan_says(name: str, measured: dict[str, tuple[int, int]]) -> None:
    said, peak = measured[name]
    assert peak / 1.2 <= said <= peak * 1.2, f"plan {said / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB"


def test_images_stay_bytes_in_memory(measured: dict[str, tuple[int, int]]) -> None:
    """As float32 the rows alone would be four times what they are."""
    as_numbers = 4 * VECTORS["rows"] * 500
    assert measured["mlp-16"][1] < as_numbers


@pytest.mark.parametrize("layers", [[dense(8, "relu"), {"kind": "dropout", "rate": 0.2}, dense(3)],
                                    [{"kind": "lstm", "units": 4, "output": "last"}, dense(3)]],
                         ids=["dense", "lstm"])  # fmt: skip
@pytest.mark.parametrize("shards", [1, 2])
def test_nothing_grows_over_a_thousand_steps(layers: list[Json], shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "TICK_S", 0.0)
    recipe = Recipe.model_validate(
        {"network": {"layers": layers}, "loss": {"kind": "cross_entropy"}, "optimizer": {"kind": "adam"},
         "training": {"epochs": 1, "batch_size": 4, "shards": shards, "log_every": 10_000}}
    )  # fmt: skip
    shape = (6,) if layers[0]["kind"] == "dense" else (5, 2)
    random = np.random.default_rng(0)
    x = random.random((8800, *shape)).astype(np.float32)
    sizes: dict[int, int] = {}
    tracemalloc.start()
    for event in Training(recipe, Signature(shape), 3, Examples(x, random.integers(0, 3, 8800).astype(np.int32))):
        if isinstance(event, Tick):
            sizes[event.step] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    first = next(size for step, size in sizes.items() if step >= 1000)
    last = [size for step, size in sizes.items() if step >= 2000]
    assert min(last) <= first + 4096, f"{min(last) - first} bytes more after a thousand steps"
