"""What is learned: turns a data set's targets into y, and a network's y into named answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from service.data.columns import number_text
from service.data.dataset import Column
from service.data.statistics import Floats
from service.tensors import Array

FEW = 100  # probabilities: so many are sorted sooner than NumPy is asked to
_HALF = 0.5  # from which probability on a label is told
Answer = dict[str, object]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes. y: (rows,) int32; the network's: (rows, classes) probabilities."""

    column: str
    classes: tuple[str, ...]
    kind: ClassVar[str] = "class"

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return len(self.classes)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {word: code for code, word in enumerate(self.classes)}

    def codes(self, column: Column, ids: Ids) -> NDArray[np.int32]:
        """(rows,) classes by number; -1 where the value is missing, -2 where no class has it."""
        values = column.values[ids] if column.description.type != "text" else np.zeros(0)
        if column.description.type == "number":
            distinct, inverse = np.unique(values, return_inverse=True)
            known = [-1 if v != v else self._codes.get(number_text(v), -2) for v in distinct.tolist()]
            return np.array(known, np.int32)[inverse]
        if column.description.type == "category":
            table = np.array([*(self._codes.get(word, -2) for word in column.words), -1], np.int32)
            return table[values]
        return np.array([self._codes.get(str(word), -2) for word in column.take(ids)], np.int32)

    def numbers(self, y: Array) -> Array:
        """(rows, classes): a probability for each class, in their order."""
        return y

    def answers(self, y: Array, top_k: int | None) -> list[Answer]:
        """The likeliest class of each row, and the `top_k` likeliest (all by default), likeliest first."""
        if y.size <= FEW:
            found = y.tolist()
            if math.isfinite(sum(map(sum, found))):
                return [self._best(row, top_k) for row in found]
        order = np.argsort(-y, axis=1, kind="stable")[:, :top_k]
        table = y[np.arange(len(y))[:, None], order]
        rows = table.tolist() if np.isfinite(table).all() else [[_finite(p) for p in row] for row in table.tolist()]
        pick = self._names.__getitem__
        return [_classified([*map(pick, row)], p) for row, p in zip(order.tolist(), rows, strict=True)]

    def _best(self, p: list[float], top_k: int | None) -> Answer:
        order = sorted(range(len(p)), key=p.__getitem__, reverse=True)[:top_k]
        names, likely = self._names, [p[at] for at in order]
        return _classified([names[at] for at in order], likely)

    @cached_property
    def _names(self) -> list[str]:
        return list(self.classes)


@dataclass(frozen=True)
class BinaryTarget:
    """The second of two classes, or not. y: (rows, 1) of 0 and 1; the network's: the second's probability."""

    column: str
    classes: tuple[str, str]
    kind: ClassVar[str] = "binary"
    outputs: ClassVar[int] = 1

    def numbers(self, y: Array) -> Array:
        """(rows, 2): a probability for each of the two."""
        second = y.reshape(-1, 1)
        return np.concatenate([1.0 - second, second], 1)

    def answers(self, y: Array, top_k: int | None) -> list[Answer]:
        """As of a target of two classes; exactly one half is the second."""
        return ClassTarget(self.column, self.classes[::-1]).answers(self.numbers(y)[:, ::-1], top_k)


@dataclass(frozen=True)
class NumberTarget:
    """Numbers. y: (rows, k), each (v - mean) / deviation; answers are in the columns' own units."""

    columns: tuple[str, ...]
    names: tuple[str, ...]  # one for each number; a column that holds an array has several
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    kind: ClassVar[str] = "number"
    classes: ClassVar[None] = None

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return len(self.names)

    def encode(self, values: Floats, dtype: str) -> Array:
        """y: (rows, k) from values: (rows, k)."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused by who asks
            scaled: Floats = (values - np.array(self.mean)) / np.array(self.deviation)
            return scaled.astype(dtype)

    def numbers(self, y: Array) -> Array:
        """(rows, k) in the columns' own units, float64."""
        return np.asarray(y.astype(np.float64).reshape(len(y), -1) * np.array(self.deviation) + np.array(self.mean))

    def answers(self, y: Array, top_k: int | None = None) -> list[Answer]:
        """{"value": v} of one number, {"values": {name: v}} of several."""
        rows = self.numbers(y).tolist()
        if len(self.names) == 1:
            return [{"value": _finite(row[0])} for row in rows]
        return [{"values": dict(zip(self.names, map(_finite, row), strict=True))} for row in rows]


@dataclass(frozen=True)
class DistributionTarget:
    """A probability for each of several classes. y: (rows, classes)."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    kind: ClassVar[str] = "distribution"

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return len(self.classes)

    def numbers(self, y: Array) -> Array:
        """(rows, classes): as the network gives them."""
        return y

    def answers(self, y: Array, top_k: int | None) -> list[Answer]:
        """As of a target of classes."""
        return ClassTarget("", self.classes).answers(y, top_k)


@dataclass(frozen=True)
class LabelsTarget:
    """Yes or no for each of several labels. y: (rows, labels) of 0 and 1; the network's: each label's probability.

    `words`: of each column what it says for no and for yes; nothing of a column of arrays.
    """

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "labels"

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return len(self.classes)

    def codes(self, columns: Sequence[Column], ids: Ids) -> NDArray[np.int32]:
        """(rows, labels): 1 for yes, 0 for no; negative where the value is missing or neither."""
        if not self.words:
            values = columns[0].values[ids].reshape(len(ids), -1)
            return np.where(values == 1, 1, np.where(values == 0, 0, -2)).astype(np.int32)
        told = zip(columns, self.words, strict=True)
        return np.stack([ClassTarget("", words).codes(column, ids) for column, words in told], 1)

    def numbers(self, y: Array) -> Array:
        """(rows, labels): as the network gives them."""
        return y

    def answers(self, y: Array, top_k: int | None) -> list[Answer]:
        """The labels that are likelier than not, and how likely each is (the `top_k` likeliest), likeliest first."""
        return [{"labels": _told(likely), "probabilities": dict(likely[:top_k])} for likely in self._ranked(y)]

    def labels(self, y: Array) -> list[list[str]]:
        """Of each row those that are likelier than not, likeliest first."""
        return [_told(likely) for likely in self._ranked(y)]

    def _ranked(self, y: Array) -> list[list[tuple[str, float | None]]]:
        order = np.argsort(-y, axis=1, kind="stable").tolist()
        return [[(self.classes[at], _finite(row[at])) for at in by] for by, row in zip(order, y.tolist(), strict=True)]


Target = ClassTarget | BinaryTarget | LabelsTarget | NumberTarget | DistributionTarget
Kind = Literal["class", "binary", "labels", "number", "distribution"]


def _classified(names: Sequence[str], p: Sequence[float | None]) -> Answer:
    return {"label": names[0], "probability": p[0], "probabilities": dict(zip(names, p, strict=True))}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _told(likely: Sequence[tuple[str, float | None]]) -> list[str]:
    return [name for name, p in likely if p is not None and p >= _HALF]
