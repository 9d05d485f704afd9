"""What a trained network gets wrong: the confusion of its classes and the rows it does worst on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.data import Part
from service.tensors import Array

MOST_CLASSES = 100
WORST = 20
_BATCH_VALUES = 1 << 20  # numbers of input at once
_TINY = 1e-12


def confusion(truth: Array, y: Array, classes: Sequence[str]) -> dict[str, Any]:
    """Counts by true class (rows) and answered class (columns). truth: (rows,); y: (rows, classes) probabilities."""
    k = len(classes)
    counts = np.bincount(truth * k + y.argmax(axis=1), minlength=k * k).reshape(k, k)
    return {"classes": list(classes), "counts": counts.tolist()}


def worst(loss: Array, part: Part, tell: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the largest loss, worst first, by their number in the data set."""
    first = np.argsort(-loss, kind="stable")[:WORST]
    return [{"row": int(part.rows[i]), "loss": float(loss[i]), **tell(int(i))} for i in first]


def findings(
    network: Callable[..., Array], part: Part, target: str, classes: Sequence[str] | None, name: str,
    told: Callable[[Array], Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Both, of one part of the data set called `name`; empty for what answers at every time step.

    `told`: a row's numbers as the caller knows them ({"value"} or {"values"}), in their own units.
    """
    if target == "class" and part.y.ndim > 1:
        return {}
    y = np.concatenate(list(_answers(network, part.x)))
    if target == "class" and classes is not None and part.y.ndim == 1:
        truth = part.y.astype(np.int64)
        return _of_classes(truth, y, part, classes, name)
    if target == "binary" and classes is not None and part.y.shape[1:] == (1,):
        truth = part.y[:, 0].astype(np.int64)
        return _of_classes(truth, np.concatenate([1 - y, y], axis=1), part, classes, name)
    if target == "number" and part.y.shape == y.shape:
        loss = ((y - part.y).astype(np.float64) ** 2).mean(axis=tuple(range(1, y.ndim)))
        rows = worst(loss, part, lambda i: {"truth": _own(part.y[i], told), "answer": _own(y[i], told)})
        return {"worst_rows": {"part": name, "rows": rows}}
    return {}


def _of_classes(truth: Array, y: Array, part: Part, classes: Sequence[str], name: str) -> dict[str, Any]:
    right = y[np.arange(len(truth)), truth].astype(np.float64)

    def tell(i: int) -> dict[str, Any]:
        answer = int(y[i].argmax())
        return {"truth": classes[truth[i]], "answer": classes[answer], "probability": float(y[i, answer])}

    found: dict[str, Any] = {"worst_rows": {"part": name, "rows": worst(-np.log(np.maximum(right, _TINY)), part, tell)}}
    if len(classes) <= MOST_CLASSES:
        found["confusion"] = {"part": name, **confusion(truth, y, classes)}
    return found


def _answers(network: Callable[..., Array], x: Array) -> Iterator[Array]:
    size = max(1, int(np.prod(x.shape[1:])))
    batch = max(1, min(len(x), _BATCH_VALUES // size))
    for start in range(0, len(x), batch):
        yield network(x[start : start + batch])


def _own(y: Array, told: Callable[[Array], Sequence[Mapping[str, Any]]] | None) -> float | list[Any]:
    """The number of one row, or its several numbers."""
    if told is None:
        plain = np.asarray(y, np.float64)
        return float(plain.reshape(-1)[0]) if plain.size == 1 else plain.tolist()
    only = told(y[None])[0]
    return float(only["value"]) if "value" in only else list(only["values"].values())
