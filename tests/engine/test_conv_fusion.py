"""A convolution fused with what follows it gives what the layers give one by one."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from engine_harness import Bound, bound
from pydantic import TypeAdapter

from service.engine import Layer, LayerSpec, Shape
from service.engine.layers import kernel
from service.engine.row import fuse, plan_row

Json = dict[str, Any]
RELU: Json = {"kind": "relu"}
NORM: Json = {"kind": "batch_norm", "momentum": 0.3}


def conv(filters: int, kernel_size: Any = 3, **given: Any) -> Json:
    return {"kind": "conv2d", "filters": filters, "kernel_size": kernel_size, **given}


def pool(size: Any = 2, **given: Any) -> Json:
    return {"kind": "max_pool2d", "pool_size": size, **given}


def layers(*words: Json) -> list[LayerSpec]:
    return [TypeAdapter(Layer).validate_python(word) for word in words]


FOLLOWING: dict[str, list[Json]] = {
    "relu": [RELU],
    "pool": [pool()],
    "relu-pool": [RELU, pool()],
    "pool-relu": [pool([1, 3]), RELU],
    "norm": [NORM],
    "norm-relu": [NORM, RELU],
    "norm-pool": [NORM, pool()],
    "norm-relu-pool": [NORM, RELU, pool()],
    "norm-pool-relu": [NORM, pool([2, 3]), RELU],
}
CONVS: dict[str, tuple[Json, tuple[int, ...]]] = {
    "one-channel": (conv(3), (7, 8, 1)),
    "few-channels": (conv(4, [2, 3], padding="same", bias=False), (7, 8, 3)),
    "columns": (conv(5, 2, dilation=2), (8, 7, 9)),
    "strides": (conv(5, 3, strides=2, padding="same"), (11, 12, 8)),
    "groups": (conv(6, 3, groups=3), (7, 8, 9)),
    "depthwise": (conv(4, 3, groups=4, padding="same"), (7, 8, 4)),
    "winograd": (conv(9), (15, 12, 8)),
    "winograd-same": (conv(8, padding="same"), (11, 11, 8)),
}
EVERY = pytest.mark.parametrize(
    ("name", "following"), list(product(CONVS, FOLLOWING)), ids=[f"{a}-{b}" for a, b in product(CONVS, FOLLOWING)]
)


def both(name: str, following: str, rows: int, training: bool) -> tuple[Bound, Bound]:
    word, dims = CONVS[name]
    row = layers(word, *FOLLOWING[following])
    return tuple(bound(row, Shape(dims), rows, training=training, fused=fused) for fused in (True, False))  # type: ignore[return-value]


def run(it: Bound) -> None:
    it.forward()
    it.dy[...] = np.random.default_rng(3).standard_normal(it.dy.shape)
    it.backward()


@pytest.mark.parametrize("block", [kernel.BLOCK, 4000], ids=["one-block", "many-blocks"])
@EVERY
def test_training_is_the_same_fused_or_not(
    name: str, following: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "BLOCK", block)
    one, other = both(name, following, 5, training=True)
    for it in (one, other):
        run(it)
    assert one.dx is not None
    assert other.dx is not None
    found, wanted = (one.y, one.dx, one.gradient, one.state), (other.y, other.dx, other.gradient, other.state)
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@EVERY
def test_scoring_is_the_same_fused_or_not(name: str, following: str) -> None:
    one, other = both(name, following, 5, training=False)
    for it in (one, other):
        it.state[:] = np.random.default_rng(4).random(it.state.size) + 0.5
    np.testing.assert_allclose(one.forward(), other.forward(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("following", FOLLOWING)
def test_all_of_these_become_one_layer(following: str) -> None:
    word, dims = CONVS["columns"]
    assert len(fuse(plan_row(layers(word, *FOLLOWING[following]), Shape(dims))).parts) == 1


@pytest.mark.parametrize(
    "following",
    [
        [pool(3, strides=2)],
        [pool(2, padding="same")],
        [pool(3)],
        [{"kind": "tanh"}, pool()],
        [RELU, NORM],
        [pool(), NORM],
    ],
    ids=["overlapping", "padded", "not-a-tile-of-winograd", "not-relu", "norm-behind-relu", "norm-behind-pool"],
)
def test_what_does_not_commute_or_does_not_pay_stays_apart(following: list[Json]) -> None:
    row = plan_row(layers(conv(8), *following), Shape((12, 12, 8)))
    assert len(fuse(row).parts) > 1


def test_equal_numbers_in_a_window_give_the_gradient_to_the_first() -> None:
    # a constant image: every window of the pool holds four equal numbers
    it = bound(layers(conv(1, 1, bias=False), pool()), Shape((4, 4, 1)), 1)
    it.theta[:1] = 1
    it.x[...] = 1
    it.forward()
    it.dy[...] = 1
    it.backward()
    assert it.dx is not None
    np.testing.assert_array_equal(it.dx[0, :, :, 0], [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


def test_a_negative_scale_turns_no_maximum_into_a_minimum() -> None:
    one, other = (bound(layers(conv(1, 1), NORM, pool()), Shape((2, 2, 1)), 2, fused=fused) for fused in (True, False))
    for it in (one, other):
        it.theta[:] = np.where(it.theta == 0, 0, -1.0)
        run(it)
    # x w with w = -1, scaled by -1: the largest x of each image wins again
    assert one.dx is not None
    assert other.dx is not None
    np.testing.assert_allclose(one.y, other.y, atol=1e-12)
    np.testing.assert_allclose(one.dx, other.dx, atol=1e-12)
