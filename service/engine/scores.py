"""Scores: what people read beside the loss; each is one function of all answers and targets of a part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.contract import Array, Target
from service.errors import did_you_mean

Doubles: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[Array, Array], float]
"""(answers, targets) -> score; answers (n, k) raw outputs whose order is the order of belief."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score, the targets it fits, and which way is better."""

    name: str
    targets: tuple[Target, ...]
    higher_is_better: bool
    function: Function


def chosen(answers: Array) -> Array:
    """The class of each answer: the largest of k, or whether a single one is positive."""
    return np.asarray(answers[:, 0] > 0 if answers.shape[1] == 1 else answers.argmax(axis=1))


def truth(targets: Array) -> Array:
    """The class of each target as (n,) whole numbers."""
    return targets.reshape(-1).astype(np.intp)


def accuracy(answers: Array, targets: Array) -> float:
    """Share of right classes."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        return float(((answers > 0) == (targets > 0.5)).mean())
    return float((chosen(answers) == truth(targets)).mean())


def top_k(k: int) -> Function:
    """Share of rows whose class is among the k strongest answers."""

    def score(answers: Array, targets: Array) -> float:
        own = np.take_along_axis(answers, truth(targets)[:, None], 1)
        return float(((answers > own).sum(axis=1) < k).mean())

    return score


def _counts(answers: Array, targets: Array) -> tuple[Doubles, Doubles, Doubles]:
    """(right, answered, true) of each class that is answered or true; of two classes, of the second alone."""
    if targets.ndim == 2 and targets.shape[1] > 1:  # each column a yes or no of its own
        said, true = answers > 0, targets > 0.5
        counts = [(said & true).sum(axis=0), said.sum(axis=0), true.sum(axis=0)]
        return counts[0].astype(float), counts[1].astype(float), counts[2].astype(float)
    named, own = chosen(answers).astype(np.intp), truth(targets)
    classes = max(answers.shape[1], 2)
    found = np.array([np.bincount(each, minlength=classes) for each in (own[named == own], named, own)], np.float64)
    found = found[:, 1:] if classes == 2 else found[:, (found[1] > 0) | (found[2] > 0)]
    return found[0], found[1], found[2]


def precision(answers: Array, targets: Array) -> float:
    """Right / answered of the second of two classes, or the mean of it over more classes (macro); 0 / 0 is 0."""
    right, said, _ = _counts(answers, targets)
    return float((right / np.maximum(said, 1)).mean())


def recall(answers: Array, targets: Array) -> float:
    """Right / true of the second of two classes, or the mean of it over more classes (macro)."""
    right, _, true = _counts(answers, targets)
    return float((right / np.maximum(true, 1)).mean())


def f1(answers: Array, targets: Array) -> float:
    """2 right / (answered + true) of the second of two classes, or the mean of it over more classes (macro)."""
    right, said, true = _counts(answers, targets)
    return float((2 * right / np.maximum(said + true, 1)).mean())


def auc(answers: Array, targets: Array) -> float:
    """Area under the ROC curve: the chance that a random positive is put before a random negative, ties half.

    With more than two classes the mean over classes of one against the rest. NaN when a class is missing.
    """
    if targets.ndim == 2 and targets.shape[1] > 1:
        return float(np.mean([_area(answers[:, k], targets[:, k] > 0.5) for k in range(targets.shape[1])]))
    true = truth(targets)
    if answers.shape[1] == 1:
        return _area(answers[:, 0], true == 1)
    if answers.shape[1] == 2:
        return _area(answers[:, 1] - answers[:, 0], true == 1)
    shares = np.exp(answers.astype(np.float64) - answers.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return float(np.mean([_area(shares[:, c], true == c) for c in range(answers.shape[1])]))


def _area(belief: Array, positive: Array) -> float:
    ups = int(positive.sum())
    downs = len(positive) - ups
    if not ups or not downs:
        return float("nan")
    _, inverse, counts = np.unique(belief, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def mae(answers: Array, targets: Array) -> float:
    """Mean absolute error, in the target's own units."""
    return float(np.abs(answers.astype(np.float64) - targets).mean())


def rmse(answers: Array, targets: Array) -> float:
    """Root of the mean squared error, in the target's own units."""
    return float(np.sqrt(np.square(answers.astype(np.float64) - targets).mean()))


def r2(answers: Array, targets: Array) -> float:
    """1 - squared error / variance around the mean, averaged over outputs; NaN when the targets never differ."""
    wide = targets.astype(np.float64)
    rest, whole = np.square(answers - wide).sum(axis=0), np.square(wide - wide.mean(axis=0)).sum(axis=0)
    return float(np.mean(1 - rest / whole)) if (whole > 0).all() else float("nan")


_CLASSES: tuple[Target, ...] = ("class", "binary")
_NUMBERS: tuple[Target, ...] = ("number",)
SCORES: dict[str, Score] = {
    each.name: each
    for each in (
        Score("accuracy", _CLASSES, True, accuracy),
        Score("top_3_accuracy", ("class",), True, top_k(3)),
        Score("top_5_accuracy", ("class",), True, top_k(5)),
        Score("precision", _CLASSES, True, precision),
        Score("recall", _CLASSES, True, recall),
        Score("f1", _CLASSES, True, f1),
        Score("auc", _CLASSES, True, auc),
        Score("mae", (*_NUMBERS, "distribution"), False, mae),
        Score("rmse", (*_NUMBERS, "distribution"), False, rmse),
        Score("r2", _NUMBERS, True, r2),
    )
}

_CALLED = {
    "acc": "accuracy", "categorical_accuracy": "accuracy", "sparse_categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy", "roc_auc": "auc", "f1_score": "f1", "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse", "r2_score": "r2",
}  # fmt: skip
"""What Keras and scikit-learn call it."""

FROM_LOSS: dict[str, Callable[[float], float]] = {
    "perplexity": lambda loss: math.exp(min(loss, 700.0)),
    "bits_per_character": lambda loss: loss / math.log(2),
}
"""Scores that say the mean of -log p (nats) otherwise; smoothing and class weights of the loss are left out of it."""


def fitting(target: Target) -> tuple[str, ...]:
    """The names of the scores that fit this kind of target."""
    names = [score.name for score in SCORES.values() if target in score.targets]
    return tuple(names + (list(FROM_LOSS) if target == "class" else []))


def meant(name: str, allowed: tuple[str, ...]) -> str | None:
    """A hint: what Keras or scikit-learn call so, or what is spelled alike."""
    ours = _CALLED.get(name.lower())
    return f"Did you mean {ours!r}?" if ours in allowed else did_you_mean(name, allowed)


def higher_is_better(name: str) -> bool:
    """Which way `val_accuracy`, `train_loss`, ... is better."""
    score = SCORES.get(name.split("_", 1)[1])
    return score is not None and score.higher_is_better
