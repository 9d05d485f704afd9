"""Both cores against PyTorch at its best on one and two threads; `make bench-engine-two`.

One training on two processes for the networks of bench_engine.py and bench_engine_cnn.py, two
trainings at once, and one row forward against onnxruntime. `cnn-norm` normalises each shard.
Run alone: `OPENBLAS_NUM_THREADS=1 quiet .venv/bin/python tests/benchmarks/bench_engine_two.py [mlp32 ... jobs row]`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import bench_engine
import bench_engine_cnn
import numpy as np
import onnxruntime
import pytest
import torch
from bench_engine import Round, race
from onnx import TensorProto, helper, numpy_helper

from service.engine import Epoch, Examples, Network, NetworkSpec, Recipe, Signature, Training
from service.engine.contract import Array

pytestmark = [pytest.mark.benchmark, pytest.mark.oracle]

FLOORS = {"mlp32": 1.7, "mlp128": 1.5, "mlp1024": 1.6, "cnn": 1.4, "cnn-norm": 1.3}
JOBS_FLOOR, ROW_FLOOR, JOBS_S = 1.25, 1.0, 4.0
ROOFED, MOST_OF_IT = "mlp1024", 0.65  # there PyTorch may be too close to what the products take for any floor


def dense_recipe(sizes: tuple[int, ...], batch: int, shards: int | None) -> Recipe:
    """With no word on shards as the engine chooses: units cut in two, or rows for large batches."""
    layers: list[dict[str, Any]] = [{"kind": "dense", "units": n, "activation": "relu"} for n in sizes[1:]]
    layers[-1]["activation"] = "softmax"
    return Recipe.model_validate(
        {
            "network": {"layers": layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {"epochs": 1_000_000, "batch_size": batch, "shards": shards},
            "metrics": [],
        }
    )


def ours(
    recipe: Recipe, signature: Signature, outputs: int, examples: Examples, processes: int
) -> tuple[Round, dict[str, Array]]:
    training = Training(recipe, signature, outputs, examples, processes=lambda: processes)
    stream, weights = iter(training), training.weights()

    def once() -> float:
        return next(event.scores["train_loss"] for event in stream if isinstance(event, Epoch))

    return once, weights


def threads(count: int, once: Round) -> Round:
    def run() -> float:
        torch.set_num_threads(count)
        return once()

    return run


def contenders(name: str) -> tuple[dict[str, Round], int]:
    """(rounds by contender, rows of one)"""
    if name in bench_engine_cnn.WORKLOADS:
        cnn, examples = bench_engine_cnn.WORKLOADS[name], bench_engine_cnn.data()
        whole = bench_engine_cnn.recipe(cnn)
        recipe = whole.model_copy(update={"training": whole.training.model_copy(update={"shards": 2})})
        signature, classes = bench_engine_cnn.SIGNATURE, 10
        make: Callable[[], Round] = lambda: bench_engine_cnn.theirs(cnn, examples, weights, "best")  # noqa: E731
    else:
        mlp = bench_engine.WORKLOADS[name]
        examples, classes, signature = bench_engine.data(mlp), mlp.sizes[-1], Signature((mlp.sizes[0],))
        recipe = dense_recipe(mlp.sizes, mlp.batch, None)
        make = lambda: bench_engine.theirs(mlp, examples, weights, "fused")  # noqa: E731
    mine, weights = ours(recipe, signature, classes, examples, 2)
    return {"ours": mine, "torch 1T": threads(1, make()), "torch 2T": threads(2, make())}, len(examples)


def compared(name: str, rounds: int = 7) -> tuple[str, float, float]:
    """(text, ratio to the best of theirs, our rows a second)"""
    racing, rows = contenders(name)
    seconds, losses = race(racing, rounds)
    ratio = min(seconds["torch 1T"], seconds["torch 2T"]) / seconds["ours"]
    text = f"{name:8} on two processes  " + "  ".join(f"{who} {rows / s:>8,.0f}/s" for who, s in seconds.items())
    text += f"  ratio {ratio:5.2f} (floor {FLOORS[name]})"
    return f"{text}  first losses {losses['ours'][0]:.5f} {losses['torch 1T'][0]:.5f}", ratio, rows / seconds["ours"]


def under_its_roof() -> tuple[str, float, float]:
    """(text, ratio, the ratio that nothing but the products would have)"""
    text, ratio, rate = compared(ROOFED)
    highest = ratio * roof(ROOFED) / rate
    return f"{text}  our products alone would be at {highest:.2f}", ratio, highest


def job(who: str, threads: int, begin: Any, told: Any) -> None:
    """Rows a second of one training beside another."""
    torch.set_num_threads(threads)
    work = bench_engine.WORKLOADS["mlp128"]
    examples = bench_engine.data(work)
    once, weights = ours(dense_recipe(work.sizes, work.batch, 1), Signature((784,)), 10, examples, 1)
    if who == "torch":
        once = bench_engine.theirs(work, examples, weights, "fused")
    once()
    begin.wait()
    start, rounds = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < JOBS_S:
        once()
        rounds += 1
    told.put(rounds * len(examples) / spent)


def side_by_side(work: Callable[..., None], *given: Any) -> list[float]:
    """What two processes tell that do the same at the same time: `work(*given, begin, told)`."""
    context = multiprocessing.get_context("spawn")
    begin, told = context.Barrier(2), context.Queue()
    both = [context.Process(target=work, args=(*given, begin, told)) for _ in range(2)]
    for each in both:
        each.start()
    found = [told.get(timeout=60) for _ in both]
    for each in both:
        each.join()
    return found


def two_jobs() -> tuple[str, float]:
    """(text, ratio to PyTorch's two jobs with one thread each), rows a second of the whole machine."""
    found = {}
    for name, who, count in (("ours", "ours", 1), ("torch 2 x 1T", "torch", 1), ("torch 2 x 2T", "torch", 2)):
        found[name] = sum(side_by_side(job, who, count))
    ratio = found["ours"] / found["torch 2 x 1T"]
    text = "mlp128, two jobs at once  " + "  ".join(f"{name} {rate:>8,.0f}/s" for name, rate in found.items())
    return f"{text}  ratio {ratio:5.2f} (floor {JOBS_FLOOR})", ratio


def products(rows: int, sizes: tuple[int, ...], begin: Any, told: Any) -> None:
    """Batches a second of nothing but a training's products, for so many rows of a batch."""
    random = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    works: list[tuple[Array, Array, Array]] = []
    for i, (n, m) in enumerate(pairs):
        x, w, dy = (random.random(shape, np.float32) for shape in ((rows, n), (n, m), (rows, m)))
        works += [(x, w, np.empty((rows, m), np.float32)), (x.T, dy, np.empty((n, m), np.float32))]
        works += [(dy, w.T, np.empty((rows, n), np.float32))] if i else []
    begin.wait()
    start, rounds = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < JOBS_S / 2:
        for a, b, out in works:
            np.matmul(a, b, out)
        rounds += 1
    told.put(rounds / spent)


def roof(name: str) -> float:
    """Rows a second of two processes that do nothing but this network's products, each for half of a batch."""
    work = bench_engine.WORKLOADS[name]
    return work.batch * min(side_by_side(products, work.batch // 2, work.sizes))


def one_row() -> Iterator[tuple[str, int, float]]:
    """(text, rows, ratio to onnxruntime on one thread) of the dense network of bench_engine.py."""
    sizes = bench_engine.WORKLOADS["mlp32"].sizes
    examples = bench_engine.data(bench_engine.WORKLOADS["mlp32"])
    recipe = dense_recipe(sizes, 32, 1)
    weights = Training(recipe, Signature((sizes[0],)), sizes[-1], examples).weights()
    network = Network(NetworkSpec.model_validate(recipe.network), Signature((sizes[0],)), sizes[-1], weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_of(sizes, weights), options)
    for rows in (1, 4, 16, 64):
        x = examples.x[:rows]
        apart = abs(network(x) - session.run(None, {"x": x})[0]).max()
        mine, other = [], []
        for _ in range(5):
            mine.append(bench_engine_cnn.quartile(lambda x=x: network(x), 0.2))  # type: ignore[misc]
            other.append(bench_engine_cnn.quartile(lambda x=x: session.run(None, {"x": x}), 0.2))  # type: ignore[misc]
        ratio = min(other) / min(mine)
        text = f"forward mlp {rows:3} rows  ours {min(mine) * 1e6:7.1f} us  onnxruntime {min(other) * 1e6:7.1f} us"
        yield f"{text}  ratio {ratio:4.2f} (floor of one row {ROW_FLOOR})  apart {apart:.1e}", rows, ratio


def onnx_of(sizes: tuple[int, ...], weights: dict[str, Array]) -> bytes:
    """Gemm and Relu, layer by layer, and a softmax."""
    nodes, value, last = [], "x", len(sizes) - 2
    for i in range(last + 1):
        nodes.append(helper.make_node("Gemm", [value, f"{i}.weight", f"{i}.bias"], [f"z{i}"], transB=1))
        nodes.append(helper.make_node("Softmax" if i == last else "Relu", [f"z{i}"], [f"y{i}"]))
        value = f"y{i}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
            for name, size in (("x", sizes[0]), (value, sizes[-1]))]  # fmt: skip
    arrays = [numpy_helper.from_array(each, name) for name, each in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "mlp", ends[:1], ends[1:], arrays), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", [name for name in FLOORS if name != ROOFED])
def test_two_processes_train_faster_than_pytorch_by_their_floor(name: str) -> None:
    text, ratio, _ = compared(name)
    assert ratio >= FLOORS[name], text


def test_two_processes_reach_their_floor_where_the_products_alone_do_and_else_most_of_that() -> None:
    text, ratio, highest = under_its_roof()
    assert ratio >= min(FLOORS[ROOFED], MOST_OF_IT * highest), text


def test_two_jobs_at_once_are_faster_than_pytorch_s_by_their_floor() -> None:
    text, ratio = two_jobs()
    assert ratio >= JOBS_FLOOR, text


def test_one_row_is_answered_as_fast_as_by_onnxruntime() -> None:
    text, _, ratio = next(one_row())
    assert ratio >= ROW_FLOOR, text


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    asked = [name for name in (*FLOORS, "jobs", "row") if name in sys.argv[1:]] or [*FLOORS, "jobs", "row"]
    for each in asked:
        if each == "row":
            for line in one_row():
                print(line[0], flush=True)
        else:
            found = two_jobs() if each == "jobs" else under_its_roof() if each == ROOFED else compared(each)
            print(found[0], flush=True)
