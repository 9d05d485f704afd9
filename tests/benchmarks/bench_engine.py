"""The engine against PyTorch at its best: same rows in the same shuffled order, same start; `make bench-engine`.

Every contender trains for the same number of steps in turn, several rounds; the lower quartile of the seconds counts.
Run alone on the machine, one BLAS thread:
`OPENBLAS_NUM_THREADS=1 quiet .venv/bin/python tests/benchmarks/bench_engine.py [tiny mlp32 mlp128 mlp1024]`.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from service.engine import Epoch, Examples, Recipe, Signature, Training, TrainingSpec
from service.engine.contract import Array
from service.engine.order import epoch_order

pytestmark = [pytest.mark.benchmark, pytest.mark.oracle]


@dataclass(frozen=True)
class Workload:
    """A network of dense layers, a batch, the steps of one round, and what the issue asks at least."""

    sizes: tuple[int, ...]
    batch: int
    steps: int
    floor: float


WORKLOADS = {
    "tiny": Workload((4, 16, 3), 16, 4000, 20.0),
    "mlp32": Workload((784, 256, 128, 10), 32, 400, 1.25),
    "mlp128": Workload((784, 256, 128, 10), 128, 150, 1.1),
    "mlp1024": Workload((784, 256, 128, 10), 1024, 24, 1.1),
}
Round = Callable[[], float]
"""Trains one epoch and returns its mean loss."""


def data(work: Workload) -> Examples:
    random = np.random.default_rng(0)
    x = random.random((work.batch * work.steps, work.sizes[0]), np.float32)
    y = (x[:, : work.sizes[-1]].argmax(axis=1)).astype(np.int32)
    return Examples(x, y)


def ours(work: Workload, examples: Examples) -> tuple[Round, dict[str, Array]]:
    layers: list[dict[str, Any]] = [{"kind": "dense", "units": n, "activation": "relu"} for n in work.sizes[1:]]
    layers[-1]["activation"] = "softmax"
    recipe = Recipe.model_validate(
        {
            "network": {"layers": layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {"epochs": 1_000_000, "batch_size": work.batch, "shards": 1},  # one core: nothing is cut
            "metrics": [],
        }
    )
    training = Training(recipe, Signature((work.sizes[0],)), work.sizes[-1], examples)
    stream = iter(training)
    weights = training.weights()

    def once() -> float:
        return next(event.scores["train_loss"] for event in stream if isinstance(event, Epoch))

    return once, weights


def theirs(work: Workload, examples: Examples, weights: dict[str, Array], how: str) -> Round:
    """PyTorch: `eager` as the manual has it, `fused` Adam, or both compiled."""
    torch.set_flush_denormal(True)  # its best setting: without it dead units slow Adam down tenfold
    parts: list[torch.nn.Module] = []
    for i, (n, m) in enumerate(zip(work.sizes, work.sizes[1:], strict=False)):
        linear = torch.nn.Linear(n, m)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights[f"{i}.weight"]))
            linear.bias.copy_(torch.from_numpy(weights[f"{i}.bias"]))
        parts += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1])
    optimizer = torch.optim.Adam(model.parameters(), fused=how != "eager")
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y).long()
    criterion = torch.nn.CrossEntropyLoss()
    forward: Callable[[Any, Any], Any] = lambda a, b: criterion(model(a), b)  # noqa: E731
    if how == "compiled":
        forward = torch.compile(forward)

    epochs = itertools.count()

    def once() -> float:
        total = torch.zeros(())
        order = torch.from_numpy(epoch_order(TrainingSpec(), len(x), next(epochs)))
        for chosen in order.split(work.batch):
            optimizer.zero_grad(set_to_none=True)
            loss = forward(x[chosen], y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / work.steps

    return once


def race(contenders: dict[str, Round], rounds: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """(lower quartile of seconds, losses) by name; everyone runs once in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    losses: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, once in contenders.items():
            begin = time.perf_counter()
            losses[name].append(once())
            seconds[name].append(time.perf_counter() - begin)
    return {name: float(np.quantile(each[1:], 0.25)) for name, each in seconds.items()}, losses


def peak_gflops() -> float:
    """What sgemm reaches here on a 512 cube."""
    a, b = (np.random.default_rng(i).random((512, 512), np.float32) for i in range(2))
    c = np.empty_like(a)
    best = float("inf")
    for _ in range(40):
        begin = time.perf_counter()
        np.matmul(a, b, c)
        best = min(best, time.perf_counter() - begin)
    return 2 * 512**3 / best / 1e9


def lines(names: list[str], rounds: int, hows: tuple[str, ...]) -> Iterator[tuple[str, float, float]]:
    """(text, ratio to the best of theirs, floor) of each workload."""
    peak = peak_gflops()
    for name in names:
        work = WORKLOADS[name]
        examples = data(work)
        mine, weights = ours(work, examples)
        contenders = {"ours": mine} | {how: theirs(work, examples, weights, how) for how in hows}
        seconds, losses = race(contenders, rounds)
        rows = work.batch * work.steps
        best = min(seconds[how] for how in hows)
        products = sum(n * m for n, m in zip(work.sizes, work.sizes[1:], strict=False))
        flops = 2 * rows * (3 * products - work.sizes[0] * work.sizes[1])
        apart = max(abs(losses["ours"][0] - losses[how][0]) for how in hows)
        text = f"{name:8} " + "  ".join(f"{who} {rows / s:>10,.0f}/s" for who, s in seconds.items())
        text += f"  ratio {best / seconds['ours']:5.2f} (floor {work.floor})"
        text += f"  {flops / seconds['ours'] / 1e9 / peak:4.0%} of sgemm {peak:.0f} GF/s  losses apart {apart:.1e}"
        yield text, best / seconds["ours"], work.floor


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_engine_is_faster_than_pytorch_by_its_floor(name: str) -> None:
    torch.set_num_threads(1)
    for text, ratio, floor in lines([name], 7, ("eager", "fused")):
        assert ratio >= floor, text


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen = [name for name in sys.argv[1:] if name in WORKLOADS] or list(WORKLOADS)
    ways = ("eager", "fused", "compiled") if "compiled" in sys.argv else ("eager", "fused")
    for line, _, _ in lines(chosen, 7, ways):
        print(line, flush=True)
