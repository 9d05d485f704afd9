"""What a trained network gets wrong: the confusion of its classes and the rows it does worst on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.data import Part
from service.serving.calibration import Calibration
from service.tensors import Array

MOST_CLASSES = 100
WORST = 20
_BATCH_VALUES = 1 << 20  # numbers of input at once
_TINY = 1e-12
Told = Callable[[Array], Sequence[Mapping[str, Any]]]


def confusion(truth: Array, y: Array, classes: Sequence[str]) -> dict[str, Any]:
    """Counts by true class (rows) and answered class (columns). truth: (rows,); y: (rows, classes) probabilities."""
    return {"classes": list(classes), "counts": _counts(truth, y, len(classes)).tolist()}


def findings(
    network: Callable[..., Array], part: Part, target: str, classes: Sequence[str] | None, name: str,
    told: Told | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Confusion and worst rows of one part of the data set called `name`.

    `told`: a row's numbers as the caller knows them ({"value"} or {"values"}), in their own units.
    """
    found = Findings(target, classes, told)
    for some in _pieces(part):
        found.add(some, network(some.x, some.lengths))
    return found.report(name)


class Findings:
    """Both, of rows that come piece by piece; nothing of what answers at every time step."""

    def __init__(
        self, target: str, classes: Sequence[str] | None, told: Told | None = None, most: int = WORST,
        calibration: Calibration | None = None,
    ) -> None:  # fmt: skip
        self._calibration = calibration
        self._target, self._classes, self._told, self._most = target, classes, told, most
        self._counts: Array | None = None
        self._worst: list[dict[str, Any]] = []

    def add(self, part: Part, y: Array) -> None:
        """More rows and the network's answers to them."""
        if self._target == "class" and self._classes is not None and part.y.ndim == 1:
            self._add_classes(part, part.y.astype(np.int64), y, self._classes)
        elif self._target == "binary" and self._classes is not None and part.y.shape[1:] == (1,):
            both = np.concatenate([1 - y, y], axis=1)
            self._add_classes(part, part.y[:, 0].astype(np.int64), both, self._classes)
        elif self._target == "binary" and self._classes is not None and part.y.shape == y.shape:
            self._add_labels(part, y, self._classes)
        elif self._target == "number" and part.y.shape == y.shape:
            loss = ((y - part.y).astype(np.float64) ** 2).mean(axis=tuple(range(1, y.ndim)))
            self._keep(part, loss, lambda i: {"truth": self._own(part.y[i]), "answer": self._own(y[i])})

    def report(self, name: str) -> dict[str, Any]:
        """What was found, on the part called `name`."""
        found: dict[str, Any] = {}
        if self._worst:
            found["worst_rows"] = {"part": name, "rows": self._worst}
        if self._calibration is not None and self._calibration.rows:
            found["calibration"] = {"part": name, **self._calibration.report()}
        if self._counts is not None and self._classes is not None:
            found["confusion"] = {"part": name, "classes": list(self._classes), "counts": self._counts.tolist()}
        return found

    def _add_classes(self, part: Part, truth: Array, y: Array, classes: Sequence[str]) -> None:
        right = y[np.arange(len(truth)), truth].astype(np.float64)

        def tell(i: int) -> dict[str, Any]:
            answer = int(y[i].argmax())
            return {"truth": classes[truth[i]], "answer": classes[answer], "probability": float(y[i, answer])}

        self._keep(part, -np.log(np.maximum(right, _TINY)), tell)
        if self._calibration is not None:
            self._calibration.add(truth, y)
        if len(classes) <= MOST_CLASSES:
            counts = _counts(truth, y, len(classes))
            self._counts = counts if self._counts is None else self._counts + counts

    def _add_labels(self, part: Part, y: Array, classes: Sequence[str]) -> None:
        """Rows by the cross-entropy of all their labels; they have no confusion, which is of one class a row."""
        p, names = y.astype(np.float64), np.array(classes, object)
        loss = -np.log(np.maximum(np.where(part.y > 0.5, p, 1 - p), _TINY)).mean(axis=1)

        def tell(i: int) -> dict[str, Any]:
            return {"truth": names[part.y[i] > 0.5].tolist(), "answer": names[y[i] >= 0.5].tolist()}

        self._keep(part, loss, tell)

    def _keep(self, part: Part, loss: Array, tell: Callable[[int], dict[str, Any]]) -> None:
        """The rows with the largest loss, worst first, by their number in the data set."""
        first = np.argsort(-loss, kind="stable")[: self._most]
        new = [{"row": int(part.rows[i]), "loss": float(loss[i]), **tell(int(i))} for i in first]
        both = [*self._worst, *new]
        order = np.argsort([-row["loss"] for row in both], kind="stable")[: self._most]
        self._worst = [both[i] for i in order]

    def _own(self, y: Array) -> float | list[Any]:
        """The number of one row, or its several numbers."""
        if self._told is None:
            plain = np.asarray(y, np.float64)
            return float(plain.reshape(-1)[0]) if plain.size == 1 else plain.tolist()
        only = self._told(y[None])[0]
        return float(only["value"]) if "value" in only else list(only["values"].values())


def _counts(truth: Array, y: Array, k: int) -> Array:
    counts: Array = np.bincount(truth * k + y.argmax(axis=1), minlength=k * k).reshape(k, k)
    return counts


def _pieces(part: Part) -> Iterator[Part]:
    size = max(1, int(np.prod(part.x.shape[1:])))
    batch = max(1, min(len(part.x), _BATCH_VALUES // size))
    for start in range(0, len(part.x), batch):
        some = slice(start, start + batch)
        lengths = None if part.lengths is None else part.lengths[some]
        yield Part(part.x[some], part.y[some], part.rows[some], lengths)
