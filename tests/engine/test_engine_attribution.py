"""Integrated gradients: by hand, against PyTorch's gradients, and complete for every kind of layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.engine import Attribution, NetworkSpec, Signature
from service.engine.losses import CrossEntropy
from service.engine.network import Compiled
from service.errors import InvalidSpec
from service.tensors import Array

NETWORKS: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "dense": ((6,), [{"kind": "dense", "units": 8, "activation": "relu"}, {"kind": "dropout", "rate": 0.5}]),
    "normed": ((6,), [{"kind": "dense", "units": 8}, {"kind": "batch_norm"}, {"kind": "relu"}, {"kind": "layer_norm"}]),
    "images": ((6, 6, 2), [
        {"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same"}, {"kind": "batch_norm"}, {"kind": "relu"},
        {"kind": "max_pool2d", "pool_size": 2},
        {"kind": "residual", "layers": [{"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same"}]},
        {"kind": "gelu"}, {"kind": "flatten"},
    ]),
    "recurrent": ((5, 3), [{"kind": "lstm", "units": 4}]),
    "gated": ((5, 3), [{"kind": "gru", "units": 4, "output": "sequence"}, {"kind": "flatten"}]),
}  # fmt: skip


def made(name: str) -> tuple[NetworkSpec, Signature, dict[str, Array]]:
    shape, layers = NETWORKS[name]
    spec = NetworkSpec.model_validate({"layers": [*layers, {"kind": "dense", "units": 3}]})
    signature = Signature(shape)
    net = Compiled(spec, signature, "float64")
    theta, state = net.begin(3)
    return spec, signature, net.export(theta, state)


def test_a_linear_network_gives_each_number_its_weight_times_the_way_it_went() -> None:
    spec = NetworkSpec.model_validate({"layers": [{"kind": "dense", "units": 2}]})
    weights = {"0.weight": np.array([[1.0, -2.0, 3.0], [0.5, 0.5, 0.5]]), "0.bias": np.array([7.0, 0.0])}
    found = Attribution(spec, Signature((3,)), weights).of(np.array([2.0, 1.0, 1.0]), np.array([0.0, 0.0, 3.0]), 0)
    # f = x1 - 2 x2 + 3 x3 + 7; from (0, 0, 3) to (2, 1, 1): 1 * 2, -2 * 1, 3 * -2
    np.testing.assert_allclose(found.values, [2, -2, -6])
    assert (found.answer, found.baseline) == (10.0, 16.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_values_sum_to_what_the_answer_moved_by(name: str) -> None:
    spec, signature, weights = made(name)
    x = np.random.default_rng(5).standard_normal(signature.shape)
    attribution = Attribution(spec, signature, weights, CrossEntropy())
    for output in range(3):
        found = attribution.of(x, np.zeros(signature.shape), output)
        assert found.values.shape == signature.shape
        assert found.gap <= 1e-3
        assert 0 < found.baseline < 1, "the loss makes probabilities of a linear end"
        assert found.values.sum() == pytest.approx(found.answer - found.baseline, abs=1e-3)


@pytest.mark.parametrize("name", ["normed", "images", "recurrent"])
def test_slopes_are_those_of_finite_differences(name: str) -> None:
    spec, signature, weights = made(name)
    random = np.random.default_rng(6)
    x, way = random.standard_normal(signature.shape), random.standard_normal(signature.shape) * 1e-4
    attribution = Attribution(spec, signature, weights, CrossEntropy())
    there, back = attribution.of(x + way, x, 1), attribution.of(x - way, x, 1)
    # along a tiny way the values are slope times way
    slope = (there.values / way - back.values / way) / 2
    one = np.zeros(signature.shape)
    place = np.unravel_index(int(np.abs(there.values).argmax()), signature.shape)
    one[place] = 1e-5
    numeric = (attribution.of(x + one, x, 1).answer - attribution.of(x - one, x, 1).answer) / 2e-5
    assert (there.values / way)[place] == pytest.approx(numeric, rel=1e-2)
    assert np.isfinite(slope).all()


def test_raw_rows_are_scaled_as_the_network_sees_them() -> None:
    spec = NetworkSpec.model_validate({"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 1}]})
    weights = {"1.weight": np.array([[2.0, 4.0]]), "1.bias": np.zeros(1)}
    signature = Signature((2, 1), "uint8", scale=1 / 255)
    found = Attribution(spec, signature, weights).of(
        np.array([[255], [51]], np.uint8), np.zeros((2, 1), np.uint8), 0
    )  # fmt: skip
    np.testing.assert_allclose(found.values.reshape(-1), [2.0, 0.8])


def test_ids_have_no_gradient() -> None:
    spec = NetworkSpec.model_validate({"layers": [{"kind": "embedding", "units": 2}]})
    with pytest.raises(InvalidSpec, match="ids"):
        Attribution(spec, Signature((4,), "int32", vocabulary=9), {"0.weight": np.zeros((9, 2))})
