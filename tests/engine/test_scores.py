"""Scores against scikit-learn, and in the target's own units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from service.engine import SCORES, Examples, Finished, Network, Recipe, Signature, Training
from service.engine.contract import Array, Target
from service.engine.scores import FROM_LOSS, fitting, higher_is_better, meant

ROWS = 300


def drawn(classes: int, seed: int) -> tuple[Array, Array]:
    """Answers with ties (rounded) that know a little of the truth."""
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, ROWS)
    return np.round(random.standard_normal((ROWS, classes)) + np.eye(classes)[true], 1), true


def shares(answers: Array) -> Array:
    e = np.exp(answers - answers.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_of_classes_are_scikit_learns(classes: int, seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    answers, true = drawn(classes, seed)
    said = answers.argmax(axis=1)
    average: dict[str, Any] = {"average": "binary" if classes == 2 else "macro"}
    wanted = {
        "accuracy": metrics.accuracy_score(true, said),
        "precision": metrics.precision_score(true, said, **average),
        "recall": metrics.recall_score(true, said, **average),
        "f1": metrics.f1_score(true, said, **average),
        "auc": metrics.roc_auc_score(true, answers[:, 1] - answers[:, 0])
        if classes == 2
        else metrics.roc_auc_score(true, shares(answers), multi_class="ovr"),
    }
    for name, value in wanted.items():
        assert SCORES[name].function(answers, true) == pytest.approx(value, abs=1e-12), name


@pytest.mark.oracle
def test_scores_of_yes_and_no_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(7)
    true = random.integers(0, 2, ROWS)
    belief = np.round(random.standard_normal(ROWS) + true, 1)
    for name, function in (("precision", metrics.precision_score), ("recall", metrics.recall_score),
                           ("f1", metrics.f1_score), ("accuracy", metrics.accuracy_score)):  # fmt: skip
        found = SCORES[name].function(belief[:, None], true[:, None].astype(float))
        assert found == pytest.approx(function(true, belief > 0), abs=1e-12), name
    area = SCORES["auc"].function(belief[:, None], true[:, None].astype(float))
    assert area == pytest.approx(metrics.roc_auc_score(true, belief), abs=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("k", [3, 5])
def test_top_k_is_scikit_learns(k: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(k)
    answers, true = random.standard_normal((ROWS, 9)), random.integers(0, 9, ROWS)
    wanted = metrics.top_k_accuracy_score(true, answers, k=k, labels=range(9))
    assert SCORES[f"top_{k}_accuracy"].function(answers, true) == pytest.approx(wanted)


@pytest.mark.oracle
@pytest.mark.parametrize("outputs", [1, 3])
def test_scores_of_numbers_are_scikit_learns(outputs: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(outputs)
    true = random.standard_normal((ROWS, outputs)) * 3 + 100
    said = true + random.standard_normal(true.shape)
    wanted = {"mae": metrics.mean_absolute_error(true, said), "r2": metrics.r2_score(true, said),
              "rmse": math.sqrt(metrics.mean_squared_error(true, said))}  # fmt: skip
    for name, value in wanted.items():
        assert SCORES[name].function(said, true) == pytest.approx(value, rel=1e-12), name


def test_two_classes_are_scored_by_the_second_and_more_by_the_mean() -> None:
    """Says 0, 1, 1, 1 where it is 0, 0, 1, 1: of three answers 1 two are right, and both 1 are found."""
    answers, true = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]]), np.array([0, 0, 1, 1])
    for z, y in ((answers, true), (answers[:, 1:] - 0.5, true[:, None].astype(float))):
        assert SCORES["precision"].function(z, y) == pytest.approx(2 / 3)
        assert SCORES["recall"].function(z, y) == 1
        assert SCORES["f1"].function(z, y) == pytest.approx(4 / 5)


def test_what_nothing_is_known_of_is_no_number() -> None:
    assert math.isnan(SCORES["auc"].function(np.zeros((3, 1)), np.zeros((3, 1))))
    assert math.isnan(SCORES["r2"].function(np.zeros((3, 1)), np.ones((3, 1))))
    assert SCORES["precision"].function(np.full((3, 1), -1.0), np.ones((3, 1))) == 0


def test_every_score_knows_which_way_is_better() -> None:
    ways = {name: higher_is_better(f"val_{name}") for name in (*SCORES, *FROM_LOSS, "loss")}
    assert [name for name, higher in ways.items() if not higher] == [
        "mae", "rmse", "perplexity", "bits_per_character", "loss",
    ]  # fmt: skip


# --- in a training --------------------------------------------------------------------------------------------------


def finished(training: Training) -> dict[str, float]:
    return next(event.scores for event in training if isinstance(event, Finished))


def test_errors_are_told_in_the_targets_own_units() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((80, 3)).astype(np.float32)
    raw = np.stack([x.sum(axis=1) * 50 + 1000, x[:, 0] / 8], axis=1)
    mean, unit = raw.mean(axis=0), raw.std(axis=0)
    y = ((raw - mean) / unit).astype(np.float32)
    document: dict[str, Any] = {
        "network": {"layers": [{"kind": "dense", "units": 2}]}, "loss": {"kind": "squared_error"},
        "training": {"epochs": 2}, "metrics": ["mae", "rmse", "r2"],
    }  # fmt: skip
    recipe, rows = Recipe.model_validate(document), Examples(x, y)
    training = Training(recipe, Signature((3,)), 2, rows, rows, rows, units=tuple(unit))
    found = finished(training)
    answers = Network(recipe.network, Signature((3,)), 2, training.weights())(x) * unit + mean
    assert found["test_mae"] == pytest.approx(np.abs(answers - raw).mean(), rel=1e-5)
    assert found["test_rmse"] == pytest.approx(math.sqrt(np.square(answers - raw).mean()), rel=1e-5)
    rest = np.square(answers - raw).sum(axis=0) / np.square(raw - mean).sum(axis=0)
    assert found["test_r2"] == pytest.approx(np.mean(1 - rest), abs=1e-5)


@pytest.mark.parametrize("given", [{}, {"label_smoothing": 0.2}, {"class_weights": [1.0, 3.0, 0.5]}])
def test_perplexity_is_that_of_the_probabilities_whatever_the_loss_adds(given: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((70, 4)).astype(np.float32), random.integers(0, 3, 70)
    document = {"network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
                "loss": {"kind": "cross_entropy", **given}, "training": {"epochs": 2},
                "metrics": ["perplexity", "bits_per_character"]}  # fmt: skip
    recipe = Recipe.model_validate(document)
    training = Training(recipe, Signature((4,)), 3, Examples(x, y), None, Examples(x, y))
    found = finished(training)
    p = Network(recipe.network, Signature((4,)), 3, training.weights())(x)[np.arange(70), y].astype(float)
    assert found["test_perplexity"] == pytest.approx(math.exp(-np.log(p).mean()), rel=1e-5)
    assert found["test_bits_per_character"] == pytest.approx(-np.log2(p).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "outputs"),
    [("cross_entropy", 6, 6), ("binary_cross_entropy", 1, 1), ("squared_error", 2, 2), ("kl_divergence", 4, 4)],
)
def test_every_fitting_score_comes_out_by_its_name(loss: str, units: int, outputs: int) -> None:
    document: dict[str, Any] = {
        "network": {"layers": [{"kind": "dense", "units": units}]}, "loss": {"kind": loss}, "training": {"epochs": 1},
    }  # fmt: skip
    target = Recipe.model_validate(document).loss.target
    names = fitting(target)
    recipe = Recipe.model_validate(document | {"metrics": names})
    random = np.random.default_rng(0)
    targets: dict[str, Array] = {
        "class": np.arange(40) % units,
        "binary": (np.arange(40) % 2).astype(np.float32)[:, None],
        "number": random.standard_normal((40, 2)).astype(np.float32),
        "distribution": np.full((40, 4), 0.25),
    }
    rows = Examples(random.standard_normal((40, 3)).astype(np.float32), targets[target])
    found = finished(Training(recipe, Signature((3,)), outputs, rows, rows, rows))
    assert set(found) == {"test_loss", *(f"test_{name}" for name in names)}
    assert all(map(math.isfinite, found.values()))


@pytest.mark.parametrize(
    ("name", "target", "hint"),
    [
        ("acc", "class", "Did you mean 'accuracy'?"),  # not 'auc', which is spelled alike
        ("roc_auc", "class", "Did you mean 'auc'?"),
        ("acuracy", "class", "Did you mean 'accuracy'?"),
        ("mean_absolute_error", "number", "Did you mean 'mae'?"),
        ("mean_absolute_error", "class", None),
    ],
)
def test_what_others_call_a_score_is_understood(name: str, target: Target, hint: str | None) -> None:
    assert meant(name, fitting(target)) == hint
