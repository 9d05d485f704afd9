"""A network cut by units in two lanes learns what the whole one learns, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.engine import Epoch, Examples, Recipe, Signature, Training, plan, resolve
from service.engine.halves import Halves
from service.errors import InvalidSpec

Json = dict[str, Any]
PLAIN = Signature((12,))


def dense(units: int, activation: str | None = None, **more: Any) -> Json:
    return {"kind": "dense", "units": units} | ({"activation": activation} if activation else {}) | more


NETWORKS: dict[str, list[Json]] = {
    "one-pair": [dense(37, "relu"), dense(5)],
    "a-whole-one-at-the-end": [dense(37, "gelu"), dense(64, "tanh", bias=False), dense(5, "softmax")],
    "two-pairs": [dense(3, "elu"), dense(64, "leaky_relu"), dense(40, "sigmoid", bias=False), dense(5, "softmax")],
    "softmax-between": [dense(37), dense(8, "softmax"), {"kind": "dropout", "rate": 0}, dense(40, "silu"), dense(5)],
    "three-pairs": [dense(2, "tanh"), dense(20, "tanh"), dense(40, "relu"), dense(64), dense(32), dense(34), dense(5)],
}
LOSSES: dict[str, Json] = {
    "cross_entropy": {"kind": "cross_entropy"},
    "weighted": {"kind": "cross_entropy", "class_weights": [1, 2, 3, 1, 0.5]},
    "numbers": {"kind": "squared_error"},
}


def recipe(layers: list[Json], loss: str = "cross_entropy", **training: Any) -> Recipe:
    given = {"epochs": 3, "batch_size": 20, "shards": None if training.get("cut") == "units" else 1} | training
    return Recipe.model_validate({"network": {"layers": layers}, "loss": LOSSES[loss], "optimizer": {"kind": "adam"},
                                  "training": given, "dtype": "float64", "metrics": []})  # fmt: skip


def rows(loss: str = "cross_entropy") -> Examples:
    random = np.random.default_rng(0)
    x = random.random((130, 12)).astype(np.float32)  # the last batch of an epoch has ten rows
    y = random.random((130, 5)) if loss == "numbers" else random.integers(0, 5, 130)
    return Examples(x, y.astype(np.float32 if loss == "numbers" else np.int32))


def trained(spec: Recipe, loss: str = "cross_entropy") -> tuple[Training, list[float]]:
    training = Training(spec, PLAIN, 5, rows(loss))
    scores = [event.scores for event in training if isinstance(event, Epoch)]
    return training, [each[name] for each in scores for name in ("train_loss", "grad_norm")]


@pytest.mark.parametrize(
    ("network", "loss"),
    [*((name, "cross_entropy") for name in NETWORKS), ("two-pairs", "weighted"), ("one-pair", "numbers")],
)
def test_two_lanes_learn_what_the_whole_network_learns(network: str, loss: str) -> None:
    whole, told = trained(recipe(NETWORKS[network], loss), loss)
    lanes, heard = trained(recipe(NETWORKS[network], loss, cut="units"), loss)
    np.testing.assert_allclose(heard, told, rtol=1e-10)
    for name, weights in whole.weights(best=False).items():
        np.testing.assert_allclose(lanes.weights(best=False)[name], weights, rtol=0, atol=1e-10, err_msg=name)


def test_what_both_lanes_have_stays_the_same_in_both_and_their_dropped_units_are_not() -> None:
    drop = {"kind": "dropout", "rate": 0.5}
    layers = [dense(40, "relu"), drop, dense(32, "relu"), drop, dense(5)]
    training, _ = trained(recipe(layers, cut="units"))
    halves = training._stepper._parted
    assert isinstance(halves, Halves)
    both = [lane._taken for lane in halves._lanes]
    common = [(mine, other) for (mine, _, shared), (other, _, _) in zip(*both, strict=True) if shared]
    assert len(common) == 3 * 3
    assert all((mine == other).all() for mine, other in common)
    bits = [lane.program(20).bits._blocks for lane in halves._lanes]
    assert all((bits[0][name] == bits[1][name]).all() for name in bits[0])
    drawn = bits[0]["net.2.bits"]
    assert drawn.shape[-1] == 40
    assert (drawn[..., :16] != drawn[..., 16:32]).mean() > 0.9


def test_a_state_goes_on_with_the_same_bits() -> None:
    spec = recipe(NETWORKS["two-pairs"], cut="units")
    whole, _ = trained(spec)
    first = Training(spec, PLAIN, 5, rows())
    for event in first:
        if isinstance(event, Epoch):
            break
    second = Training(spec, PLAIN, 5, rows(), state=first.state())
    assert sum(isinstance(event, Epoch) for event in second) == 3  # the one that was just told again
    assert second.weights_sha256(best=False) == whole.weights_sha256(best=False)


@pytest.mark.parametrize(
    ("layers", "more", "place"),
    [
        ([dense(5)], {}, "/training/cut"),
        ([dense(6), {"kind": "layer_norm"}, dense(5)], {}, "/training/cut"),
        ([dense(8, "softmax"), dense(5)], {}, "/training/cut"),
        ([dense(8), dense(5)], {"shards": 2}, "/training/shards"),
    ],
)
def test_what_cannot_be_cut_by_units_is_refused(layers: list[Json], more: Json, place: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        plan(recipe(layers, cut="units", **more), PLAIN, 5, 130)
    assert [fault.pointer for fault in caught.value.faults] == [place]


def test_lone_dense_trainings_of_some_length_are_cut_by_units_when_nothing_is_said() -> None:
    def chosen(
        layers: list[Json], rows: int = 60_000, optimizer: Json | None = None, **training: Any
    ) -> tuple[Any, Any]:
        given = {"network": {"layers": layers}, "loss": LOSSES["cross_entropy"],
                 "optimizer": {"kind": "adam"} | (optimizer or {}), "training": training}  # fmt: skip
        settled = resolve(Recipe.model_validate(given), Signature((784,)), 10, rows).training
        return settled.cut, settled.shards

    layers = [dense(256, "relu"), dense(128, "relu"), dense(10)]
    assert chosen(layers) == ("units", 1)
    assert chosen(layers, cut="rows") == ("rows", 1)
    assert chosen(layers, shards=2) == ("rows", 2)
    assert chosen(layers, batch_size=1024) == ("rows", 2)
    assert chosen(layers, rows=500) == ("rows", 1)  # over before a second process would be there
    assert chosen(layers, optimizer={"clip_norm": 1.0}) == ("rows", 1)
    assert chosen([dense(16, "relu"), dense(10)]) == ("rows", 1)
