"""Large dense layers answer from the arrays they were given, without a copy, whatever the number of rows."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from service.engine import Network, NetworkSpec, Signature
from service.engine.losses import CrossEntropy
from service.engine.mapped import LARGE
from service.errors import InvalidSpec
from service.tensors import Array

N, UNITS = 512, 520
LAYERS: list[dict[str, Any]] = [
    {"kind": "dense", "units": UNITS, "activation": "relu"},
    {"kind": "dense", "units": UNITS, "bias": False, "activation": "tanh"},
    {"kind": "dense", "units": 3},
]


def weights(dtype: Any = np.float32) -> dict[str, Array]:
    dice = np.random.default_rng(0)
    shapes = {
        "0.weight": (UNITS, N),
        "0.bias": (UNITS,),
        "1.weight": (UNITS, UNITS),
        "2.weight": (3, UNITS),
        "2.bias": (3,),
    }
    return {name: (dice.standard_normal(shape) / 20).astype(dtype) for name, shape in shapes.items()}


def network(given: dict[str, Array], dtype: str = "float32") -> Network:
    return Network(NetworkSpec.model_validate({"layers": LAYERS}), Signature((N,)), 3, given, CrossEntropy(), dtype)


def expected(w: dict[str, Array], x: Array) -> Array:
    """Probabilities in float64."""
    w = {name: each.astype(np.float64) for name, each in w.items()}
    hidden = np.tanh(np.maximum(x @ w["0.weight"].T + w["0.bias"], 0) @ w["1.weight"].T)
    e = np.exp(hidden @ w["2.weight"].T + w["2.bias"])
    found: Array = e / e.sum(1, keepdims=True)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_answer_is_the_products_by_hand(dtype: str) -> None:
    assert UNITS * N >= LARGE
    w = weights(dtype)
    net, dice = network(w, dtype), np.random.default_rng(1)
    for rows in (1, 2, 3, 4, 7, 8, 9, 40, 300):
        x = dice.standard_normal((rows, N)).astype(np.float32)
        np.testing.assert_allclose(net(x), expected(w, x), rtol=1e-4, atol=1e-6)
    hidden = np.maximum(x @ w["0.weight"].T + w["0.bias"], 0)
    np.testing.assert_allclose(net.layer(0)(x[:2]), hidden[:2], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        np.exp(net.logits()(x)), expected(w, x) * np.exp(net.logits()(x)).sum(1)[:, None], rtol=1e-3
    )


def test_nothing_is_copied() -> None:
    w = weights()
    net, x = network(w), np.ones((2, N), np.float32)
    net(x)
    w["0.weight"][...] = w["0.weight"][::-1].copy()  # a copy would not hear of it
    w["1.weight"][...] *= 0.5
    for rows in (1, 2):
        np.testing.assert_allclose(net(x[:rows]), expected(w, x[:rows]), rtol=1e-4, atol=1e-6)


def test_arrays_that_cannot_be_read_in_place_are_copied() -> None:
    w, x = weights(), np.random.default_rng(2).standard_normal((3, N)).astype(np.float32)
    other = w | {"0.weight": w["0.weight"].astype(np.float64), "1.weight": np.asfortranarray(w["1.weight"])}
    np.testing.assert_allclose(network(other)(x), expected(w, x), rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_told_as_ever() -> None:
    w = weights()
    for wrong in ({"1.weight": w["1.weight"][1:]}, {"0.weight": w["0.weight"].reshape(-1)}):
        with pytest.raises(InvalidSpec, match="do not fit"):
            network(w | wrong)
    del w["0.weight"]
    with pytest.raises(InvalidSpec, match="do not fit"):
        network(w)


def test_many_threads_get_their_own_answers() -> None:
    w = weights()
    net, dice = network(w), np.random.default_rng(3)
    wrong: list[float] = []

    def ask(x: Array, told: Array) -> None:
        wrong.extend(float(np.abs(net(x) - told).max()) for _ in range(5))

    asked = [dice.standard_normal((rows, N)).astype(np.float32) for rows in (1, 1, 2, 5)]
    threads = [threading.Thread(target=ask, args=(x, expected(w, x))) for x in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(wrong) < 1e-5
