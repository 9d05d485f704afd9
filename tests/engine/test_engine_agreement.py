"""Agreement with PyTorch in float64: answers, loss, gradients, and where ten steps lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_examples import kinds

from service.engine import Epoch, Examples, Layer, Loss, Network, Optimizer, Recipe, Signature, Training
from service.engine.contract import Array

WITHIN = 1e-9
GOLDEN: dict[str, Any] = {}
for _path in sorted((Path(__file__).parent.parent / "golden").glob("engine*.json")):
    GOLDEN |= json.loads(_path.read_text())
GOLDEN.pop("about")
CASE = pytest.mark.parametrize("name", GOLDEN)
NOT_IN_TORCH = {
    "dropout",  # random; what it does in scoring and its derivative are tested as laws
    "gradient_descent",  # sgd on the whole batch
}


def arrays(named: dict[str, Any]) -> dict[str, Array]:
    return {name: np.array(value, np.float64) for name, value in named.items()}


def train(case: dict[str, Any], steps: int, optimizer: dict[str, Any]) -> tuple[Training, list[Any]]:
    recipe = Recipe.model_validate(
        {
            "network": {"layers": case["layers"]},
            "loss": case["loss"],
            "optimizer": optimizer,
            "training": {
                "epochs": 100,
                "batch_size": case["batch"],
                "shuffle": False,
                "max_steps": steps,
                "shards": 1,
                **case.get("training", {}),
            },
            "dtype": "float64",
            "metrics": [],
        }
    )
    x, y = np.array(case["x"]), np.array(case["y"])
    lengths = None if case.get("lengths") is None else np.array(case["lengths"])
    y = y.astype(np.int32) if recipe.loss.target == "class" else y.astype(np.float64)
    training = Training(
        recipe, signature(case), case["outputs"], Examples(x.astype(signature(case).dtype), y, lengths),
        initial=arrays(case["start"]),
    )  # fmt: skip
    return training, list(training)


def signature(case: dict[str, Any]) -> Signature:
    timed = case.get("lengths") is not None
    return Signature(
        tuple(case["dims"]),
        "float32" if case["vocabulary"] is None else "int32",
        vocabulary=case["vocabulary"],
        timed=timed,
    )


def close(found: Array, wanted: Array) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= WITHIN


@CASE
def test_ten_steps_lead_where_pytorch_gets(name: str) -> None:
    case = GOLDEN[name]
    training, _ = train(case, case["steps"], case["optimizer"])
    found = training.weights(best=False)
    assert set(found) == set(case["end"])
    for each, wanted in arrays(case["end"]).items():
        close(found[each], wanted)


@CASE
def test_loss_and_gradients_are_pytorchs(name: str) -> None:
    case = GOLDEN[name]
    training, events = train(case, 1, {"kind": "sgd", "learning_rate": 1.0})
    first = next(event for event in events if isinstance(event, Epoch))
    assert abs(first.scores["train_loss"] - case["first_loss"]) <= WITHIN
    found, start = training.weights(best=False), arrays(case["start"])
    for each, wanted in arrays(case["gradients"]).items():
        close(start[each] - found[each], wanted)  # one step of rate 1 on the first batch: the gradient itself


@CASE
def test_answers_are_pytorchs(name: str) -> None:
    case = GOLDEN[name]
    training, _ = train(case, 1, {"kind": "sgd", "learning_rate": 1.0})
    spec = training.recipe.network
    network = Network(spec, signature(case), case["outputs"], arrays(case["start"]), dtype="float64")
    answers = network(np.array(case["x"], signature(case).dtype))
    wanted = np.array(case["answers"])
    last = case["layers"][-1].get("activation")  # PyTorch's model ends before what its loss computes inside
    if last == "softmax":
        wanted = np.exp(wanted) / np.exp(wanted).sum(-1, keepdims=True)
    if last == "sigmoid":
        wanted = 1 / (1 + np.exp(-wanted))
    if case.get("lengths") is None:
        close(answers, wanted)


def test_every_word_is_compared_with_pytorch_or_named_as_not_in_it() -> None:
    text = json.dumps([[case["layers"], case["loss"], case["optimizer"]] for case in GOLDEN.values()])
    words = [*kinds(Layer), *kinds(Loss), *kinds(Optimizer)]
    missing = {word for word in words if f'"{word}"' not in text}
    assert missing == NOT_IN_TORCH
