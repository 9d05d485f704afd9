"""Two processes on one training: the same bits as one, whenever the second comes and goes, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engine import Epoch, Examples, Recipe, Signature, Tick, Training, program
from service.engine import training as training_module
from service.errors import WorkerLost

IMAGES = Signature((6, 6, 1), "uint8", 1 / 255)
DENSE: list[dict[str, Any]] = [
    {"kind": "flatten"}, {"kind": "dense", "units": 16, "activation": "relu"}, {"kind": "dropout", "rate": 0.25},
    {"kind": "dense", "units": 3, "activation": "softmax"},
]  # fmt: skip
NORM: list[dict[str, Any]] = [{"kind": "conv2d", "filters": 4, "kernel_size": 3}, {"kind": "batch_norm"},
                              {"kind": "relu"}, *DENSE]  # fmt: skip
DEEP: list[dict[str, Any]] = [*DENSE[:2], {"kind": "dense", "units": 40, "activation": "gelu"}, *DENSE[1:3],
                              {"kind": "dense", "units": 9}, *DENSE[2:]]  # fmt: skip
FLIP = {"kind": "flip"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "HELP_S", 0.0)
    monkeypatch.setattr(training_module, "TICK_S", 0.0)


def images(count: int = 45) -> Examples:
    random = np.random.default_rng(3)
    x = random.integers(0, 256, (count, 6, 6, 1)).astype(np.uint8)
    return Examples(x, (x[:, 0, 0, 0] // 86).astype(np.int32))


def recipe(layers: list[dict[str, Any]] = DENSE, loss: str = "cross_entropy", **training: Any) -> Recipe:
    optimizer = {"kind": "adam", "learning_rate": 0.01} | training.pop("optimizer", {})
    given = {"epochs": 3, "batch_size": 8, "seed": 1, "shards": 2} | training
    return Recipe.model_validate(
        {"network": {"layers": layers}, "loss": {"kind": loss}, "optimizer": optimizer, "training": given}
    )


def told(spec: Recipe, processes: Callable[[], int], examples: Examples | None = None) -> tuple[str, list[float]]:
    """(the weights' digest, every epoch's loss, accuracy and gradient)"""
    training = Training(spec, IMAGES, 3, examples or images(), images(20), processes=processes)
    events = [event for event in training if isinstance(event, Epoch)]
    scores = [event.scores.get(name, 0.0) for event in events for name in ("train_loss", "train_accuracy", "grad_norm")]
    assert children(os.getpid()) == []
    return training.weights_sha256(best=False), scores


OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    """What runs already is no training's: servers that other tests keep."""
    OTHERS.clear()
    OTHERS.update(children(os.getpid()))


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return [each for each in found if each not in OTHERS]


SPECS = {
    "plain": recipe(),
    "three-shards": recipe(shards=3, optimizer={"clip_norm": 0.1}),
    "clipped": recipe(optimizer={"clip_norm": 0.05, "weight_decay": 0.01}),
    "augmented": recipe(augmentation=[FLIP], optimizer={"schedule": {"kind": "cosine", "warmup_steps": 3}}),
    "batch-norm": recipe(NORM),
    "units": recipe(shards=None, cut="units", augmentation=[FLIP], optimizer={"weight_decay": 0.01}),
    "units-deep": recipe(DEEP, shards=None, cut="units", optimizer={"clip_value": 0.1}),
}


@pytest.mark.parametrize("name", SPECS)
def test_one_process_or_two_give_the_same_bits(name: str) -> None:
    come_and_go: Iterator[int] = iter([2, 2, 1, 1, 2, 1] * 100)
    alone = told(SPECS[name], lambda: 1)
    assert told(SPECS[name], lambda: 2) == alone
    assert told(SPECS[name], lambda: next(come_and_go)) == alone


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_block_of_several_loads_gives_the_bits_of_a_block_of_one(
    shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = recipe(shards=shards, augmentation=[FLIP])
    monkeypatch.setattr(program, "BUDGET", 1300)  # the input of one or two steps waits, the evidence of eight and more
    monkeypatch.setattr(program, "WORK", 0)
    single = told(spec, lambda: 1)
    monkeypatch.setattr(program, "WORK", 1_000_000_000)
    assert told(spec, lambda: 1) == single
    assert told(spec, lambda: 2) == single


def test_a_last_batch_of_one_row_leaves_the_second_process_without_work() -> None:
    examples = images(17)
    assert told(recipe(), lambda: 2, examples) == told(recipe(), lambda: 1, examples)


def test_a_training_that_is_left_takes_its_second_process_along() -> None:
    for event in Training(recipe(epochs=1000), IMAGES, 3, images(), processes=lambda: 2):
        if isinstance(event, Tick) and children(os.getpid()):
            break
    else:
        raise AssertionError("nobody ever helped")
    assert children(os.getpid()) == []


def test_a_second_process_that_is_killed_ends_the_training_with_a_word_on_it() -> None:
    def killing() -> None:
        for event in Training(recipe(epochs=100_000), IMAGES, 3, images(), processes=lambda: 2):
            if isinstance(event, Tick) and (helpers := children(os.getpid())):
                os.kill(helpers[0], signal.SIGKILL)

    with pytest.raises(WorkerLost, match="second process"):
        killing()
    assert children(os.getpid()) == []


RUN = """
import numpy as np
from service.engine import Examples, Recipe, Signature, Training, training
training.HELP_S = 0.0
layers = [{"kind": "dense", "units": 512, "activation": "relu"}, {"kind": "dense", "units": 3}]
spec = Recipe.model_validate({"network": {"layers": layers}, "loss": {"kind": "cross_entropy"},
    "training": {"epochs": 100000, "batch_size": 64, "shards": 2}})
x = np.random.default_rng(0).random((640, 300), np.float32)
for event in Training(spec, Signature((300,)), 3, Examples(x, np.zeros(640, np.int32)), processes=lambda: 2):
    print(type(event).__name__, flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see processes and threads")
def test_the_second_process_has_one_thread_and_dies_with_the_first() -> None:
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", RUN], env=env, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        for _ in range(5):
            assert first.stdout.readline()
        (second,) = children(first.pid)
        threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in (first.pid, second)]
        first.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{second}").exists() and "\nState:\tZ" not in Path(f"/proc/{second}/status").read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)
    assert threads == [1, 1]
