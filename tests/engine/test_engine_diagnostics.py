"""What is told of each layer: against numbers worked out by hand in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.engine import Examples, Recipe, Signature, Training, diagnose
from service.tensors import Array


def recipe(layers: list[dict[str, Any]]) -> Recipe:
    return Recipe.model_validate(
        {"network": {"layers": layers}, "loss": {"kind": "cross_entropy"}, "optimizer": {"kind": "adam"},
         "training": {}, "dtype": "float64"}
    )  # fmt: skip


def examples(*shape: int) -> Examples:
    random = np.random.default_rng(0)
    return Examples(random.standard_normal(shape).astype(np.float32), random.integers(0, 3, shape[0]).astype(np.int32))


def test_norms_and_dead_units_of_dense_layers_are_those_worked_out_by_hand() -> None:
    layers = [{"kind": "dense", "units": 4, "activation": "relu"}, {"kind": "dense", "units": 3}]
    random, rows = np.random.default_rng(1), examples(20, 5)
    w: dict[str, Array] = {"0.weight": random.standard_normal((4, 5)), "0.bias": np.array([0.0, -99, 0, 0]),
         "1.weight": random.standard_normal((3, 4)), "1.bias": np.zeros(3)}  # fmt: skip
    found = diagnose(recipe(layers), Signature((5,)), 3, w, rows)
    first, second = found.layers
    h = np.maximum(rows.x @ w["0.weight"].T + w["0.bias"], 0)
    p = np.exp(h @ w["1.weight"].T)
    dz = (p / p.sum(1, keepdims=True) - np.eye(3)[rows.y]) / 20
    da = dz @ w["1.weight"] * (h > 0)
    assert (found.rows, first.parameters, second.parameters) == (20, 24, 15)
    assert first.weight_norm == pytest.approx(np.hypot(np.linalg.norm(w["0.weight"]), 99))
    assert second.gradient_norm == pytest.approx(np.hypot(np.linalg.norm(dz.T @ h), np.linalg.norm(dz.sum(0))))
    assert first.gradient_norm == pytest.approx(np.hypot(np.linalg.norm(da.T @ rows.x), np.linalg.norm(da.sum(0))))
    assert (first.dead_units, second.dead_units) == (0.25, None)


def test_a_tanh_fed_large_numbers_is_saturated() -> None:
    layers: list[dict[str, Any]] = [{"kind": "tanh"}, {"kind": "dropout", "rate": 0.5}, {"kind": "dense", "units": 3}]
    rows = examples(40, 2)
    rows.x[:, 0] = np.where(rows.x[:, 0] > 0, 5.0, -5.0)
    rows.x[:, 1] = 0.5
    w = {"2.weight": np.ones((3, 2)), "2.bias": np.zeros(3)}
    tanh, dropout, _ = diagnose(recipe(layers), Signature((2,)), 3, w, rows).layers
    assert (tanh.saturated, tanh.parameters, tanh.weight_norm) == (0.5, 0, None)
    assert (dropout.saturated, dropout.gradient_norm) == (None, None)


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_the_gradient_by_time_of_a_sequence_answered_once_is_the_loss_s(kind: str) -> None:
    """The last entry is the gradient in the state that the dense layer reads: dz W."""
    layers = [{"kind": kind, "units": 4, "output": "last"}, {"kind": "dense", "units": 3}]
    spec, signature, rows = recipe(layers), Signature((6, 2)), examples(8, 6, 2)
    w = Training(spec, signature, 3, rows).weights(best=False)
    w["1.weight"] = np.zeros_like(w["1.weight"])
    recurrent, dense = diagnose(spec, signature, 3, w, rows).layers  # no state matters
    assert (recurrent.gradient_by_time, dense.gradient_by_time) == ([0.0] * 6, None)
    w["1.weight"][0] = 1e-9  # every z is 0: p is 1/3, and dz_0 of a row is 1/3 - t_0
    by_time = diagnose(spec, signature, 3, w, rows).layers[0].gradient_by_time
    dz = (1 / 3 - (rows.y == 0)) / 8
    assert by_time is not None
    assert by_time[-1] == pytest.approx(2e-9 * np.linalg.norm(dz), rel=1e-6)


@pytest.mark.parametrize(
    ("factor", "reach", "words"),
    [
        (0.5, 6, ["6 steps back"]),  # 0.5^6 = 0.016, 0.5^7 = 0.008
        (0.9, 19, []),  # 0.9^19 = 0.14
        (1.5, 19, ["set clip_norm"]),  # 1.5^19 = 2,217
    ],
)
def test_a_reader_sees_how_far_back_a_recurrent_layer_learns(factor: float, reach: int, words: list[str]) -> None:
    """Near 0 tanh is the line: each step back the gradient is the factor times as large."""
    layers = [{"kind": "simple_rnn", "units": 4, "output": "last"}, {"kind": "dense", "units": 3}]
    spec, signature = recipe(layers), Signature((20, 2))
    rows = Examples(np.full((8, 20, 2), 1e-12, np.float32), np.arange(8, dtype=np.int32) % 3)
    w = Training(spec, signature, 3, rows).weights(best=False)
    w |= {name: np.zeros_like(w[name]) for name in ("0.bias_ih_l0", "0.bias_hh_l0", "1.bias")}
    w["0.weight_hh_l0"] = factor * np.eye(4)
    found = diagnose(spec, signature, 3, w, rows)
    by_time = found.layers[0].gradient_by_time
    assert by_time is not None
    assert by_time[0] / by_time[-1] == pytest.approx(factor**19, rel=1e-6)
    assert found.layers[0].gradient_reach == reach
    told = [text for text in found.findings if text.startswith("layer 0 (simple_rnn)")]
    assert len(told) == len(words)
    assert all(word in text for word, text in zip(words, told, strict=True))


def test_layers_that_hardly_learn_are_told_in_words() -> None:
    layers: list[dict[str, Any]] = [{"kind": "dense", "units": 4, "activation": "relu"}, {"kind": "tanh"},
                                    {"kind": "dense", "units": 3}]  # fmt: skip
    rows = examples(20, 5)
    w = {"0.weight": np.full((4, 5), 1e-9), "0.bias": np.array([-1.0, -1, 99, 99]),
         "2.weight": np.ones((3, 4)), "2.bias": np.array([0.0, 1, 2])}  # fmt: skip
    told = diagnose(recipe(layers), Signature((5,)), 3, w, rows).findings
    assert any(text.startswith("layer 0 (dense): 50%") for text in told)
    assert any(text.startswith("layer 0 (dense): its gradient") for text in told)
    assert any(text.startswith("layer 1 (tanh): 50%") for text in told)
