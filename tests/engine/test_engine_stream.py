"""A network read step by step says what it says of the whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from service.engine import Loss, Network, NetworkSpec, Signature
from service.engine.network import Compiled
from service.errors import InvalidSpec

VOCABULARY, TIME = 7, 150
RECURRENT = ("simple_rnn", "lstm", "gru")


def network(*layers: dict[str, Any], time: int = TIME, vocabulary: int | None = VOCABULARY) -> Network:
    """A network in float64 as it is before training; its end is linear and its loss a cross entropy."""
    spec = NetworkSpec.model_validate({"layers": [*layers, {"kind": "dense", "units": VOCABULARY}]})
    shape = (time,) if vocabulary else (time, 3)
    signature = Signature(shape, "int32" if vocabulary else "float32", vocabulary=vocabulary)
    net = Compiled(spec, signature, "float64")
    weights = net.export(*net.begin(5))
    return Network(spec, signature, VOCABULARY, weights, _cross_entropy(), "float64")


def _cross_entropy() -> Loss:
    found: Loss = TypeAdapter(Loss).validate_python({"kind": "cross_entropy"})
    return found


def two(kind: str) -> list[dict[str, Any]]:
    between = [{"kind": "dropout", "rate": 0.2}, {"kind": "dense", "units": 8, "activation": "gelu"}]
    return [{"kind": kind, "units": 6}, *between, {"kind": kind, "units": 5}]


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("embedded", [True, False])
def test_a_stream_says_what_the_whole_sequence_says(kind: str, embedded: bool) -> None:
    layers = [{"kind": "embedding", "units": 4}] * embedded + two(kind)
    asked = network(*layers, {"kind": "layer_norm"})
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (1, TIME)).astype(np.int32)
    whole = asked(ids)[0]
    stream = asked.stream()
    state, told = stream.start(), []
    for at in range(TIME):
        state, y = stream.read(state, ids[0, at : at + 1])
        told.append(y[0])
    np.testing.assert_allclose(np.array(told), whole, atol=1e-12)
    np.testing.assert_allclose(stream.read(stream.start(), ids[0])[1], whole, atol=1e-12)
    np.testing.assert_allclose(whole.sum(axis=-1), 1.0)


def test_numbers_are_streamed_as_ids_are() -> None:
    asked = network({"kind": "residual", "layers": [{"kind": "gru", "units": 3}]}, vocabulary=None)
    x = np.random.default_rng(0).standard_normal((1, TIME, 3)).astype(np.float32)
    stream = asked.stream()
    np.testing.assert_allclose(stream.read(stream.start(), x[0])[1], asked(x)[0], atol=1e-12)


def test_a_state_is_a_value_that_can_be_gone_on_from_twice() -> None:
    stream = network(*two("lstm")).stream()
    ids = np.arange(6, dtype=np.int32)
    state, _ = stream.read(stream.start(), ids)
    kept = [each.copy() for each in state]
    first, y = stream.read(state, ids[:2])
    second, again = stream.read(state, ids[:2])
    np.testing.assert_array_equal(y, again)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(state, kept, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        ({"kind": "bidirectional", "layer": {"kind": "gru", "units": 2}}, "/network/layers/1"),
        ({"kind": "gru", "units": 2, "output": "last"}, "/network/layers/1/output"),
        ({"kind": "flatten"}, "/network/layers/1"),
        ({"kind": "conv1d", "filters": 2, "kernel_size": 3, "padding": "same"}, "/network/layers/1"),
        ({"kind": "residual", "layers": [{"kind": "reshape", "shape": [-1, 2]}]}, "/network/layers/1/layers/0"),
    ],
)
def test_what_sees_ahead_is_no_stream(layer: dict[str, Any], place: str) -> None:
    asked = network({"kind": "embedding", "units": 2}, layer)
    with pytest.raises(InvalidSpec) as caught:
        asked.stream()
    assert [fault.pointer for fault in caught.value.faults] == [place]
