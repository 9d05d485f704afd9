"""What lies inside of a network: a layer's output and the logits, against products written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.engine import Network, NetworkSpec, Signature
from service.engine.losses import CrossEntropy
from service.tensors import Array

LAYERS: list[dict[str, Any]] = [
    {"kind": "dense", "units": 5, "activation": "relu"},
    {"kind": "dropout", "rate": 0.5},
    {"kind": "dense", "units": 3, "activation": "softmax"},
]


def weights() -> dict[str, Array]:
    random = np.random.default_rng(3)
    shapes = {"0.weight": (5, 4), "0.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def network(layers: list[dict[str, Any]], given: dict[str, Array]) -> Network:
    spec = NetworkSpec.model_validate({"layers": layers})
    return Network(spec, Signature((4,)), 3, given, CrossEntropy())


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_layers_output_is_that_of_the_layers_up_to_it(rows: int) -> None:
    w, x = weights(), np.random.default_rng(4).standard_normal((rows, 4)).astype(np.float32)
    net = network(LAYERS, w)
    hidden = np.maximum(x @ w["0.weight"].T + w["0.bias"], 0)
    logits = hidden @ w["2.weight"].T + w["2.bias"]
    for index in (0, 1):  # dropout drops nothing when it answers
        np.testing.assert_allclose(net.layer(index)(x), hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.logits()(x), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(net.layer(2)(x), net(x))
    assert net.layers == ("dense", "dropout", "dense")
    assert (net.size(0), net.size(2)) == (5, 3)


def test_a_linear_end_gives_logits_whether_or_not_its_loss_makes_probabilities_of_them() -> None:
    linear = [*LAYERS[:2], {"kind": "dense", "units": 3}]
    w, x = weights(), np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(network(linear, w).logits()(x), network(LAYERS, w).logits()(x))
    np.testing.assert_allclose(network(linear, w)(x).sum(axis=1), 1, rtol=1e-6)


def test_a_convolutions_planes_come_with_their_shape() -> None:
    layers = [{"kind": "conv2d", "filters": 2, "kernel_size": 1}, {"kind": "flatten"}, {"kind": "dense", "units": 2}]
    spec = NetworkSpec.model_validate({"layers": layers})
    given = {
        "0.weight": np.array([1.0, 10.0], np.float32).reshape(2, 1, 1, 1), "0.bias": np.zeros(2, np.float32),
        "2.weight": np.zeros((2, 18), np.float32), "2.bias": np.zeros(2, np.float32),
    }  # fmt: skip
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    net = Network(spec, Signature((3, 3, 1)), 2, given)
    np.testing.assert_array_equal(net.layer(0)(x), np.concatenate([x, 10 * x], axis=-1))
    assert net.layer(1)(x).shape == (1, 18)
