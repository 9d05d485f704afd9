"""Convolutional networks against PyTorch and onnxruntime at their best settings; `make bench-engine`.

Training: 28 x 28 images, conv 3x3x32, pool, conv 3x3x64, pool, 128, 10, batch 64, Adam; `cnn-norm` with batch_norm
behind the convolutions and dropout. Same start and same shuffled rows, in turn, lower quartile of several rounds. We
read uint8 images and scale them ourselves; PyTorch gets them ready made as float32. Forward: 1 to 64 rows, one thread.
Run alone: `OPENBLAS_NUM_THREADS=1 quiet .venv/bin/python tests/benchmarks/bench_engine_cnn.py [cnn cnn-norm forward]`.
"""

from __future__ import annotations

import io
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from bench_engine import Round, peak_gflops, race
from torch import nn
from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

from service.engine import Epoch, Examples, Network, NetworkSpec, Recipe, Signature, Training, TrainingSpec
from service.engine.contract import Array
from service.engine.order import epoch_order

pytestmark = [pytest.mark.benchmark, pytest.mark.oracle]

ROWS, BATCH = 64 * 12, 64
SIGNATURE = Signature((28, 28, 1), "uint8", 1 / 255)
FLOPS = 2 * (  # of a row, all three passes but the first layer's way back; positions that the pools drop do not count
    2 * 26 * 26 * 9 * 32 + 3 * 10 * 10 * 288 * 64 + 3 * (1600 * 128 + 128 * 10)
)
Json = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """Layers as JSON, the same in PyTorch by our numbers, and what the issue asks at least."""

    layers: list[Json]
    modules: Callable[[], dict[str, nn.Module]]
    floor: float


def conv(filters: int) -> Json:
    return {"kind": "conv2d", "filters": filters, "kernel_size": 3}


POOL: Json = {"kind": "max_pool2d", "pool_size": 2}
NORM: list[Json] = [{"kind": "batch_norm"}, {"kind": "relu"}, POOL]
PLAIN: list[Json] = [{"kind": "relu"}, POOL]
END: list[Json] = [{"kind": "dense", "units": 128, "activation": "relu"}]
LAST: list[Json] = [{"kind": "dense", "units": 10, "activation": "softmax"}]
WORKLOADS = {
    "cnn": Workload(
        [conv(32), *PLAIN, conv(64), *PLAIN, {"kind": "flatten"}, *END, *LAST],
        lambda: {
            "0": nn.Conv2d(1, 32, 3), "1": nn.ReLU(), "2": nn.MaxPool2d(2),
            "3": nn.Conv2d(32, 64, 3), "4": nn.ReLU(), "5": nn.MaxPool2d(2),
            "6": nn.Flatten(), "7": nn.Linear(1600, 128), "7a": nn.ReLU(), "8": nn.Linear(128, 10),
        },
        1.15,
    ),
    "cnn-norm": Workload(
        [conv(32), *NORM, conv(64), *NORM, {"kind": "flatten"}, {"kind": "dropout", "rate": 0.25}, *END,
         {"kind": "dropout", "rate": 0.5}, *LAST],
        lambda: {
            "0": nn.Conv2d(1, 32, 3), "1": nn.BatchNorm2d(32), "2": nn.ReLU(), "3": nn.MaxPool2d(2),
            "4": nn.Conv2d(32, 64, 3), "5": nn.BatchNorm2d(64), "6": nn.ReLU(), "7": nn.MaxPool2d(2),
            "8": nn.Flatten(), "9": nn.Dropout(0.25), "10": nn.Linear(1600, 128), "10a": nn.ReLU(),
            "11": nn.Dropout(0.5), "12": nn.Linear(128, 10),
        },
        1.1,
    ),
}  # fmt: skip


def data() -> Examples:
    """Pictures with soft edges, the class told by where the brightest corner lies: something to learn."""
    random = np.random.default_rng(0)
    y = random.integers(0, 10, ROWS).astype(np.int32)
    x = random.integers(0, 100, (ROWS, 28, 28, 1))
    for row, label in zip(x, y, strict=True):
        row[2 * label : 2 * label + 6, 2 * label : 2 * label + 6] += 120
    return Examples(x.astype(np.uint8), y)


def recipe(work: Workload) -> Recipe:
    return Recipe.model_validate(
        {
            "network": {"layers": work.layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {"epochs": 1_000_000, "batch_size": BATCH},
            "metrics": [],
        }
    )


def ours(work: Workload, examples: Examples) -> tuple[Round, dict[str, Array]]:
    training = Training(recipe(work), SIGNATURE, 10, examples)
    stream = iter(training)
    weights = training.weights()

    def once() -> float:
        return next(event.scores["train_loss"] for event in stream if isinstance(event, Epoch))

    return once, weights


def model_of(work: Workload, weights: dict[str, Array]) -> nn.Sequential:
    """PyTorch lays channels before space when it flattens: the first dense layer's weights are turned."""
    model = nn.Sequential()
    for name, module in work.modules().items():
        model.add_module(name, module)
    state = {name: torch.from_numpy(each) for name, each in weights.items()}
    for name, each in state.items():
        if each.shape == (128, 1600):
            state[name] = each.reshape(128, 5, 5, 64).permute(0, 3, 1, 2).reshape(128, 1600)
    model.load_state_dict(state)
    return model


def theirs(work: Workload, examples: Examples, weights: dict[str, Array], how: str) -> Round:
    """PyTorch: `eager` as the manual has it, or `best`: channels last in memory and the fused Adam."""
    torch.set_flush_denormal(True)
    model = model_of(work, weights)
    x = torch.from_numpy(examples.x.astype(np.float32) / 255).permute(0, 3, 1, 2)
    if how == "best":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    else:
        x = x.contiguous()
    optimizer = torch.optim.Adam(model.parameters(), fused=how == "best")
    y, criterion, epochs = torch.from_numpy(examples.y).long(), nn.CrossEntropyLoss(), itertools.count()

    def once() -> float:
        total = torch.zeros(())
        order = torch.from_numpy(epoch_order(TrainingSpec(), len(x), next(epochs)))
        for chosen in order.split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / (len(x) // BATCH)

    return once


def compared(name: str, rounds: int = 9) -> tuple[str, float, float]:
    """(text, ratio to the best of theirs, floor)"""
    work, examples = WORKLOADS[name], data()
    mine, weights = ours(work, examples)
    hows = ("eager", "best")
    seconds, losses = race({"ours": mine} | {how: theirs(work, examples, weights, how) for how in hows}, rounds)
    ratio = min(seconds[how] for how in hows) / seconds["ours"]
    text = f"{name:8} " + "  ".join(f"{who} {ROWS / s:>7,.0f}/s" for who, s in seconds.items())
    share = FLOPS * ROWS / seconds["ours"] / 1e9 / peak_gflops()
    text += f"  ratio {ratio:5.2f} (floor {work.floor})  {share:4.0%} of sgemm"
    text += f"  first losses {losses['ours'][0]:.5f} {losses['best'][0]:.5f}"
    return text, ratio, work.floor


def onnx_of(model: nn.Module) -> onnxruntime.InferenceSession:
    """One thread. The exporter wants the onnx package only to add functions that this model does not have."""
    onnx_proto_utils._add_onnxscript_fn = lambda proto, custom: proto
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = {"x": {0: "rows"}}
        example = (torch.zeros(1, 1, 28, 28),)
        torch.onnx.export(model.eval(), example, file, dynamo=False, input_names=["x"], dynamic_axes=rows)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options)


def quartile(call: Callable[[], object], seconds: float = 0.4) -> float:
    """Lower quartile of its seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - begin)
    return float(np.quantile(times[5:], 0.25))


def forward(name: str, sizes: tuple[int, ...] = (1, 4, 16, 64)) -> Iterator[tuple[str, int, float]]:
    """(text, rows, ratio to onnxruntime) of prediction; ours begins with uint8, theirs with float32."""
    work, examples = WORKLOADS[name], data()
    training = Training(recipe(work), SIGNATURE, 10, examples)
    weights = training.weights()
    network = Network(NetworkSpec.model_validate({"layers": work.layers}), SIGNATURE, 10, weights)
    session = onnx_of(nn.Sequential(model_of(work, weights), nn.Softmax(-1)))
    for rows in sizes:
        x = examples.x[:rows]
        ready = np.ascontiguousarray(x.astype(np.float32).transpose(0, 3, 1, 2) / 255)
        apart = np.abs(network(x) - session.run(None, {"x": ready})[0]).max()
        mine: list[float] = []
        other: list[float] = []
        for _ in range(5):
            mine.append(quartile(lambda x=x: network(x)))  # type: ignore[misc]
            other.append(quartile(lambda ready=ready: session.run(None, {"x": ready})))  # type: ignore[misc]
        ratio = min(other) / min(mine)
        yield (
            f"forward {name:8} {rows:3} rows  ours {min(mine) * 1e6:7.1f} us  onnxruntime {min(other) * 1e6:7.1f} us"
            f"  ratio {ratio:4.2f}  apart {apart:.1e}", rows, ratio,
        )  # fmt: skip


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_cnn_trains_faster_than_in_pytorch_by_its_floor(name: str) -> None:
    torch.set_num_threads(1)
    text, ratio, floor = compared(name)
    assert ratio >= floor, text


def test_forward_of_one_row_is_not_too_far_from_onnxruntime() -> None:
    text, _, ratio = next(forward("cnn", (1,)))
    assert ratio >= 0.6, text


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = [name for name in (*WORKLOADS, "forward") if name in sys.argv[1:]] or [*WORKLOADS, "forward"]
    for each in asked:
        if each == "forward":
            for found in forward("cnn"):
                print(found[0], flush=True)
        else:
            print(compared(each)[0], flush=True)
