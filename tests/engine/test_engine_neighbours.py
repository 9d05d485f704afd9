"""Every kind of layer before those that lay their input in memory as they like it: the next one must read it right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from engine_harness import bound, derivative_error

from service.engine import NetworkSpec, Shape, Signature
from service.engine.inference import Network
from service.engine.network import Compiled
from service.engine.row import Unfits, plan_row
from service.tensors import Array

Json = dict[str, Any]
WITHIN, CLOSE = 1e-5, 1e-6
FIRST: list[Json] = [
    {"kind": "dense", "units": 4}, {"kind": "dense", "units": 12, "activation": "tanh"}, {"kind": "layer_norm"},
    {"kind": "gelu"}, {"kind": "softmax"}, {"kind": "swiglu"}, {"kind": "reshape", "shape": [-1, 6]},
    {"kind": "residual", "layers": [{"kind": "gelu"}]}, {"kind": "bidirectional", "layer": {"kind": "gru", "units": 2}},
    {"kind": "conv1d", "filters": 12, "kernel_size": 2, "activation": "gelu"}, {"kind": "batch_norm"},
    {"kind": "average_pool1d", "pool_size": 2}, {"kind": "residual", "layers": [{"kind": "reshape", "shape": [4, 6]}]},
]  # fmt: skip
SECOND: list[Json] = [
    {"kind": "lstm", "units": 3}, {"kind": "batch_norm"}, {"kind": "conv1d", "filters": 3, "kernel_size": 2},
    {"kind": "global_average_pool"},
]  # fmt: skip
SPACE: list[list[Json]] = [
    [first, second]
    for first in ({"kind": "dense", "units": 9}, {"kind": "gelu"})
    for second in ({"kind": "conv2d", "filters": 2, "kernel_size": 2}, {"kind": "max_pool2d", "pool_size": 2})
]


def fitting() -> Iterator[tuple[NetworkSpec, tuple[int, ...]]]:
    """The pairs that can follow each other, on rows of (time, numbers) and of (height, width, channels)."""
    rows = [((4, 6), list(pair)) for pair in product(FIRST, SECOND)]
    for dims, layers in [*rows, *(((3, 4, 8), pair) for pair in SPACE)]:
        spec = NetworkSpec.model_validate({"layers": layers})
        try:
            plan_row(spec.layers, Shape(dims))
        except Unfits:
            continue
        yield spec, dims


def answered(spec: NetworkSpec, x: Array, weights: dict[str, Array]) -> Array:
    signature = Signature(x.shape[1:])
    return Network(spec, signature, Compiled(spec, signature).plan.out.size, weights)(x)


def test_two_layers_answer_as_one_after_the_other() -> None:
    chance, tried = np.random.default_rng(4), 0
    for spec, dims in fitting():
        net = Compiled(spec, Signature(dims))
        weights = net.export(*net.begin(1))
        x = chance.normal(0, 1, (3, *dims)).astype(np.float32)
        whole, step = answered(spec, x, weights), x
        for at, layer in enumerate(spec.layers):
            mine = {f"0.{name.partition('.')[2]}": w for name, w in weights.items() if name.startswith(f"{at}.")}
            step = answered(spec.model_copy(update={"layers": (layer,)}), step, mine)
        np.testing.assert_allclose(whole, step, rtol=WITHIN, atol=WITHIN, err_msg=str(spec))
        tried += 1
    assert tried > 40


def test_two_layers_backward_is_the_derivative_of_their_forward() -> None:
    errors = {str(spec): derivative_error(bound(spec.layers, Shape(dims))) for spec, dims in fitting()}
    assert {name: error for name, error in errors.items() if error > CLOSE} == {}


@pytest.mark.parametrize("after", SECOND[:2])
def test_shorter_rows_pass_a_dense_layer_too(after: Json) -> None:
    dense = {"kind": "dense", "units": 4, "activation": "gelu"}
    layers = NetworkSpec.model_validate({"layers": [dense, after]}).layers
    assert derivative_error(bound(layers, Shape((4, 6), timed=True), 4, lengths=(4, 1, 3, 2))) <= CLOSE
