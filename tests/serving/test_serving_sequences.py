"""A network asked about rows of any length: an answer does not hang on the rows beside it, nor on their padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from service.data import ClassTarget, Preprocessor, Sequences, padded
from service.engine import Examples, Loss, NetworkSpec, Optimizer, Recipe, Signature, Training, TrainingSpec
from service.errors import TooLarge
from service.serving import RowModel, oip, together
from service.serving.sequences import SequenceNetwork
from service.specs import artifact
from service.tensors import Array, Tensors

LSTM = {"kind": "lstm", "units": 4}
END = {"kind": "dense", "units": 2, "activation": "softmax"}
SAME = {"kind": "conv1d", "filters": 3, "kernel_size": 5, "padding": "same"}
AVERAGE = {"kind": "global_average_pool"}
NETWORKS: dict[str, list[Any]] = {
    "lstm": [LSTM | {"output": "last"}, END],
    "both ways": [{"kind": "bidirectional", "layer": {"kind": "gru", "units": 3}}, {"kind": "global_max_pool"}, END],
    "convolved": [SAME, {"kind": "batch_norm"}, {"kind": "dense", "units": 3}, SAME, AVERAGE, END],
}  # fmt: skip
LENGTHS = [1, 20, 3, 9, 8, 45, 17, 2, 20, 131]


def rows(lengths: list[int]) -> Array:
    found, random = np.empty(len(lengths), object), np.random.default_rng(3)
    found[:] = [random.normal(size=(length, 2)).astype(np.float32) for length in lengths]
    return found


def model_of(layers: list[Any], longest: int = 20, padded_to: int = 20) -> artifact.NetworkModel:
    """Trained for a moment on the rows up to so long, padded."""
    network, signature = NetworkSpec.model_validate({"layers": layers}), Signature((padded_to, 2), timed=True)
    loss: Any = TypeAdapter[Any](Loss).validate_python({"kind": "cross_entropy"})
    optimizer: Any = TypeAdapter[Any](Optimizer).validate_python({"kind": "sgd", "learning_rate": 0.3})
    recipe = Recipe(network=network, loss=loss, optimizer=optimizer, training=TrainingSpec(epochs=3, batch_size=4))
    known = [length for length in LENGTHS if length <= longest]
    x = padded(np.concatenate(list(rows(known))), np.array(known), padded_to)
    training = Training(recipe, signature, 2, Examples(x, np.array(known, np.int32) % 2, np.array(known)))
    assert list(training)
    prepared = Preprocessor(
        Sequences(("s",), ((2,),), (0.0, 0.0), (1.0, 1.0), padded_to, "float32", None), ClassTarget("y", ("a", "b")),
        frozenset({"s", "y"}),
    )  # fmt: skip
    return artifact.NetworkModel(network, signature, 2, loss, "float32", prepared, {}, training.weights())


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_what_is_learned_does_not_hang_on_how_far_rows_are_padded(layers: list[Any]) -> None:
    near, far = model_of(layers), model_of(layers, padded_to=33)
    for name, weights in near.weights.items():
        np.testing.assert_allclose(far.weights[name], weights, atol=1e-6)


def exactly(model: artifact.NetworkModel, row: Array) -> Array:
    """One row through a network made for its length, which knows of no padding."""
    full = replace(model.shaped(row.shape), signature=Signature(row.shape))
    return np.asarray(full.bind()(row[None])[0])


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_a_row_is_answered_alike_alone_and_beside_longer_ones(layers: list[Any]) -> None:
    model, x = model_of(layers), rows(LENGTHS)
    network = SequenceNetwork(model)
    every = network(x)
    assert every.std() > 0.01
    for at, row in enumerate(x):
        np.testing.assert_allclose(network(x[at : at + 1])[0], every[at], atol=1e-6)
        np.testing.assert_allclose(exactly(model, row), every[at], atol=1e-6)
    assert np.array_equal(SequenceNetwork(artifact.unpack(_file(model)))(x), every)


def _file(model: artifact.NetworkModel) -> Tensors:
    arrays, metadata = artifact.pack(model)
    return Tensors(arrays, metadata)


def test_layers_logits_and_attributions_are_of_a_row_s_own_steps() -> None:
    model, x = model_of(NETWORKS["both ways"]), rows(LENGTHS)
    network = SequenceNetwork(model)
    assert [each.shape for each in network.layer(0)(x)] == [(length, 6) for length in LENGTHS]
    assert network.layer(1)(x).shape == (len(x), 6)
    logits = network.logits()(x)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), network(x), rtol=1e-5)
    why = network.attribution().of(x[5], np.zeros_like(x[5]), 1)
    assert why.values.shape == x[5].shape
    assert why.values.sum() == pytest.approx(why.answer - why.baseline, abs=1e-3)
    assert why.answer == pytest.approx(float(network(x[5:6])[0, 1]), abs=1e-6)


def test_a_row_of_too_many_steps_is_refused_by_its_number() -> None:
    long = np.broadcast_to(np.zeros(2, np.float32), (10**8, 2))
    x = np.empty(2, object)
    x[:] = [np.zeros((1, 2), np.float32), long]
    with pytest.raises(TooLarge) as caught:
        SequenceNetwork(model_of(NETWORKS["lstm"]))(x)
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/1"]


def test_requests_share_a_pass_whatever_their_rows_lengths_and_tensors_say_the_same() -> None:
    model = model_of(NETWORKS["lstm"])
    served = RowModel(SequenceNetwork(model), model.preprocessor)  # type: ignore[arg-type]
    x = rows([3, 30, 7])
    parts = [[{"s": x[0].tolist()}, {"s": x[1].tolist()}], [{"s": [[1.0]]}], [x[2].tolist()]]
    y, places = together(served, parts, plain=True)
    assert places == [slice(0, 2), None, slice(2, 3)]
    np.testing.assert_array_equal(y, served.network(x))
    assert oip.inputs(served) == [oip.Kind("s", "FP32", (-1, -1, 2))]
    tensor = oip.Tensor(oip.Kind("s", "FP32", (1, 30, 2)), x[1].reshape(-1))
    np.testing.assert_array_equal(served.network(oip.read(served, [tensor]))[0], y[1])
