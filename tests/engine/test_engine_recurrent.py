"""Recurrent layers through time: sequences of any length, streams that go on, and gradients that vanish or do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_harness import bound, derivative_error
from pydantic import TypeAdapter

from service.engine import Epoch, Examples, Network, NetworkSpec, Recipe, Shape, Signature, Training
from service.engine.contract import Array
from service.engine.diagnostics import gradient_by_time
from service.engine.layers import Layer

KINDS = ["simple_rnn", "lstm", "gru"]
LETTERS, TIME = 5, 6
LAYER: TypeAdapter[Any] = TypeAdapter(Layer)


def letter_recipe(kind: str, **training: Any) -> Recipe:
    layers = [
        {"kind": "embedding", "units": 4},
        {"kind": kind, "units": 8},
        {"kind": "dropout", "rate": 0.25},
        {"kind": kind, "units": 8, "recurrent_dropout": 0.25},
        {"kind": "dense", "units": LETTERS, "activation": "softmax"},
    ]
    given = {"epochs": 3, "batch_size": 4, "seed": 3, "stateful": True} | training
    return Recipe.model_validate(
        {"network": {"layers": layers}, "loss": {"kind": "cross_entropy"},
         "optimizer": {"kind": "adam", "learning_rate": 0.01}, "training": given, "metrics": ["accuracy"]}
    )  # fmt: skip


def letters(rows: int, time: int = TIME) -> Examples:
    """A stream in which every letter follows from the two before it."""
    stream = [0, 1]
    while len(stream) <= rows * time:
        stream.append((stream[-1] + 2 * stream[-2] + 1) % LETTERS)
    text = np.array(stream, np.int32)
    return Examples(text[:-1][: rows * time].reshape(rows, time), text[1:][: rows * time].reshape(rows, time))


def signature(time: int = TIME) -> Signature:
    return Signature((time,), "int32", vocabulary=LETTERS)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("output", ["sequence", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_row_comes_out_as_if_it_were_alone(kind: str, output: str, both_ways: bool) -> None:
    word: dict[str, Any] = {"kind": kind, "units": 3, "output": output}
    layer = LAYER.validate_python({"kind": "bidirectional", "layer": word} if both_ways else word)
    lengths = (5, 1, 3)
    together = bound(layer, Shape((5, 2), timed=True), 3, lengths=lengths)
    y, x = together.forward().copy(), together.x.copy()
    for row, length in enumerate(lengths):
        alone = bound(layer, Shape((length, 2)), 1)
        alone.theta[:] = together.theta
        alone.x[0] = x[row, :length]
        wanted = alone.forward()[0]
        np.testing.assert_allclose(y[row, :length] if output == "sequence" else y[row], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "rows", "units"),
    [(Shape((6, 40)), 50, 64), (Shape((3, 9)), 3, 224), (Shape((3, 224)), 2, 200), (Shape((40,), 3), 20, 8)],
    ids=["gathered-in-two-pieces", "heavy-state", "heavy-input", "letters-seen-often"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_backward_is_the_derivative_however_the_products_are_cut(
    kind: str, shape: Shape, rows: int, units: int
) -> None:  # fmt: skip
    it = bound(LAYER.validate_python({"kind": kind, "units": units}), shape, rows)
    it.theta *= 0.1
    assert derivative_error(it) <= 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_of_windows_is_one_long_sequence(kind: str) -> None:
    """Scored statefully in windows of 6, or in one window of 24 steps: the same loss."""
    recipe = letter_recipe(kind, epochs=1, batch_size=1)
    short = letters(4)
    weights = Training(recipe, signature(), LETTERS, short).weights(best=False)
    whole = Examples(short.x.reshape(1, -1), short.y.reshape(1, -1))
    losses = []
    for examples, time in ((short, TIME), (whole, 4 * TIME)):
        still = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"learning_rate": 1e-30})})
        training = Training(still, signature(time), LETTERS, examples, examples, initial=weights)
        losses += [event.scores["val_loss"] for event in training if isinstance(event, Epoch)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_on_a_stream_goes_on_bit_for_bit_from_any_event(kind: str) -> None:
    examples, held = letters(20), letters(8)

    def begin(state: Any = None) -> Training:
        return Training(letter_recipe(kind), signature(), LETTERS, examples, held, state=state)

    undisturbed = begin()
    states = [undisturbed.state() for _ in undisturbed]
    wanted = undisturbed.weights_sha256(best=False)
    assert len(states) > 3
    for arrays, meta in states[:-1]:
        resumed = begin((arrays, meta))
        list(resumed)
        assert resumed.weights_sha256(best=False) == wanted


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_letters_that_follow_from_the_two_before_are_learned(kind: str) -> None:
    recipe = letter_recipe(kind, epochs=40)
    scores = [event.scores for event in Training(recipe, signature(), LETTERS, letters(80), letters(20))
              if isinstance(event, Epoch)]  # fmt: skip
    assert scores[-1]["val_accuracy"] > 0.95


def test_the_gradient_vanishes_in_a_simple_rnn_long_before_it_does_in_an_lstm() -> None:
    """50 steps back, with small recurrent weights; the forget gates of the LSTM are open, sigmoid(4) = 0.98."""
    time, rows = 50, 8
    reach = {}
    for kind in ("simple_rnn", "lstm"):
        layers = [{"kind": kind, "units": 16}, {"kind": "dense", "units": LETTERS, "activation": "softmax"}]
        recipe = Recipe.model_validate(
            {"network": {"layers": layers}, "loss": {"kind": "cross_entropy"}, "optimizer": {"kind": "adam"},
             "training": {"batch_size": rows}, "dtype": "float64"}
        )  # fmt: skip
        examples = letters(rows, time)
        weights = dict(Training(recipe, signature(time), LETTERS, examples).weights(best=False))
        weights["0.weight_hh_l0"] = weights["0.weight_hh_l0"] * 0.5
        if kind == "lstm":
            weights["0.bias_hh_l0"] = np.where(np.arange(64) // 16 == 1, 4.0, weights["0.bias_hh_l0"])
        norms = gradient_by_time(recipe, signature(time), weights, examples)["0"]
        assert len(norms) == time
        reach[kind] = norms[0] / norms[-1]
    assert reach["simple_rnn"] < 1e-9
    assert reach["lstm"] > 1e-3


def test_a_network_asked_in_a_padded_batch_answers_as_alone() -> None:
    layers = [{"kind": "gru", "units": 4, "output": "last"}, {"kind": "dense", "units": 2, "activation": "softmax"}]
    spec = NetworkSpec.model_validate({"layers": layers})
    timed = Signature((7, 3), timed=True)
    recipe = Recipe.model_validate(
        {
            "network": {"layers": layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {},
        }
    )
    x: Array = np.random.default_rng(0).standard_normal((3, 7, 3)).astype(np.float32)
    lengths = np.array([7, 2, 4])
    training = Training(recipe, timed, 2, Examples(x, np.zeros(3, np.int32), lengths))
    network = Network(spec, timed, 2, training.weights(best=False))
    together = network(x, lengths)
    for row, length in enumerate(lengths):
        alone = Network(spec, Signature((int(length), 3)), 2, training.weights(best=False))
        np.testing.assert_allclose(alone(x[row : row + 1, :length])[0], together[row], atol=1e-6)
