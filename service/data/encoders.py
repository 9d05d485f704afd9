"""Turns a row's numbers and words into x: found in the training part, stored with the model, used by both sides.

Training and prediction meet in `Flat.assemble` and `Whole.cast`, so what training saw is what a
prediction computes, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from struct import Struct
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.data.columns import MISSING
from service.data.dates import DateFeature
from service.data.statistics import Floats
from service.tensors import Array

Codes = NDArray[np.intp]


def canonical(word: str) -> str | None:
    """A word without blanks around it; None when it stands for nothing, such as `?` and `NA`."""
    bare = word.strip()
    return None if bare in MISSING else bare


@dataclass(frozen=True)
class NumberFeature:
    """(v - mean) / deviation at `start`; of a missing v that of `fill`, and 1 at `indicator` if there is one."""

    name: str
    start: int
    mean: float
    deviation: float
    indicator: int | None
    fills: bool  # whether a missing value may be filled at all
    fill: float | None = None  # what v is then; None: the mean, even where that is rounded
    drops: bool = False  # rows without it were left out

    shape: ClassVar[tuple[int, ...]] = ()
    type: ClassVar[str] = "number"

    @property
    def places(self) -> list[int]:
        """Its slots in the whole row."""
        return [self.start] if self.indicator is None else [self.start, self.indicator]


@dataclass(frozen=True)
class ArrayFeature:
    """Numbers of a row's array, flattened, each (v - mean) / deviation, from `start` on."""

    name: str
    start: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    shape: tuple[int, ...]
    type: ClassVar[str] = "array"

    @property
    def places(self) -> list[int]:
        """Its slots in the whole row."""
        return list(range(self.start, self.start + len(self.mean)))


@dataclass(frozen=True)
class CategoryFeature:
    """1 at the slot of its word. A word not in `words` has slot `other`, a missing one `missing`; None is all zeros.

    `missing` may be the slot of a word.
    """

    name: str
    start: int
    words: tuple[str, ...]
    other: int | None
    missing: int | None
    drops: bool = False  # rows without it were left out

    shape: ClassVar[tuple[int, ...]] = ()
    type: ClassVar[str] = "category"

    @cached_property
    def slots(self) -> dict[str, int]:
        """The slot of each word, counted in the whole row."""
        return {word: self.start + at for at, word in enumerate(self.words)}

    @property
    def places(self) -> list[int]:
        """Its slots in the whole row."""
        return list(dict.fromkeys([*self.slots.values(), *(at for at in (self.other, self.missing) if at is not None)]))

    @property
    def absent(self) -> int:
        """The slot of a missing word; -1 is none."""
        return -1 if self.missing is None else self.missing

    def slot(self, word: str) -> int:
        """The slot of a word as it was read or sent; -1 is none."""
        bare = canonical(word)
        if bare is None:
            return self.absent
        return self.slots.get(bare, -1 if self.other is None else self.other)


Feature = NumberFeature | ArrayFeature | CategoryFeature | DateFeature


@dataclass(frozen=True)
class Flat:
    """Rows as vectors of `width` numbers, from columns of numbers, words and arrays."""

    features: tuple[Feature, ...]
    width: int
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row of x."""
        return (self.width,)

    scale: ClassVar[float] = 1.0
    offset: ClassVar[float] = 0.0

    @cached_property
    def numbers(self) -> list[NumberFeature | ArrayFeature | DateFeature]:
        """The features that come as numbers."""
        return [feature for feature in self.features if not isinstance(feature, CategoryFeature)]

    @cached_property
    def categories(self) -> list[CategoryFeature]:
        """The features that come as words."""
        return [feature for feature in self.features if isinstance(feature, CategoryFeature)]

    @cached_property
    def only_numbers(self) -> bool:
        """Whether every feature is one number."""
        return all(isinstance(feature, NumberFeature) for feature in self.features)

    @cached_property
    def only_array(self) -> bool:
        """Whether the only feature is an array: a row may be sent as its numbers, without a list around them."""
        return len(self.features) == 1 and isinstance(self.features[0], ArrayFeature)

    @cached_property
    def pick(self) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
        """Takes the features' values out of an object, in order. Raises KeyError."""
        names = [feature.name for feature in self.features]
        return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

    @cached_property
    def packer(self) -> Struct | None:
        """Packs a row that is sent as numbers alone as float64; None when rows are not."""
        if self.only_array or self.only_numbers:
            return Struct(f"{self.count}d")
        return None

    @cached_property
    def count(self) -> int:
        """How many numbers a row has before words are encoded."""
        return len(self._means)

    def shares(self, values: Array) -> dict[str, Any]:
        """values: (width,), one for each number of x, as one for each feature: of a word or a number, their sum."""
        return {
            f.name: values[f.places].reshape(f.shape).tolist() if f.shape else float(values[f.places].sum())
            for f in self.features
        }

    @cached_property
    def _places(self) -> Codes | slice:
        """Where each of the numbers goes."""
        places = [f.start + at for f in self.numbers for at in range(_size(f))]
        together = places == list(range(self.width))
        return slice(0, self.width) if together else np.array(places, np.intp)

    @cached_property
    def _means(self) -> Floats:
        return _joined([0.0 if isinstance(f, DateFeature) else f.mean for f in self.numbers])

    @cached_property
    def _deviations(self) -> Floats:
        return _joined([1.0 if isinstance(f, DateFeature) else f.deviation for f in self.numbers])

    @cached_property
    def _fills(self) -> Floats:
        """What x is where a number is missing."""
        fills = [f.fill if isinstance(f, NumberFeature) else None for f in self.numbers for _ in range(_size(f))]
        known = np.array([mean if fill is None else fill for fill, mean in zip(fills, self._means, strict=True)])
        return np.asarray((known - self._means) / self._deviations)

    @cached_property
    def _dates(self) -> list[tuple[int, DateFeature]]:
        """(which number, how it is spread)."""
        sizes = [_size(feature) for feature in self.numbers]
        starts = [sum(sizes[:at]) for at in range(len(sizes))]
        return [(at, f) for at, f in zip(starts, self.numbers, strict=True) if isinstance(f, DateFeature)]

    @cached_property
    def _indicators(self) -> list[tuple[int, int]]:
        """(which number, its indicator's slot)."""
        found, at = [], 0
        for feature in self.numbers:
            if not isinstance(feature, ArrayFeature) and feature.indicator is not None:
                found.append((at, feature.indicator))
            at += _size(feature)
        return found

    def assemble(self, numbers: Floats, codes: Codes) -> Array:
        """x: (rows, width) of numbers: (rows, all of them), NaN missing, and slots: (rows, categories), -1 none."""
        rows = len(numbers)
        with np.errstate(over="ignore"):  # too large for x: infinite, and refused by whoever sent it
            scaled = (numbers - self._means) / self._deviations
        x = np.zeros((rows, self.width), self.dtype)
        missing = np.isnan(numbers)
        if missing.any():
            scaled = np.where(missing, self._fills, scaled)
            for at, slot in self._indicators:
                x[:, slot] = missing[:, at]
        with np.errstate(over="ignore"):
            x[:, self._places] = scaled
            for at, date in self._dates:
                x[:, date.start : date.start + len(date.mean)] = date.spread(numbers[:, at])
        for at in range(codes.shape[1]):
            known = np.flatnonzero(codes[:, at] >= 0)
            x[known, codes[known, at]] = 1.0
        return x


@dataclass(frozen=True)
class Whole:
    """Rows that are one array each, kept in their own type: what the network sees is x * scale + offset.

    `resized`: the pictures of training were scaled to this shape, and so are those of a prediction. `samples_per_s`:
    the sounds of training had so many.
    """

    name: str
    type: str
    raw: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    vocabulary: int | None
    scale: float
    offset: float
    resized: bool = False
    samples_per_s: int | None = None

    @cached_property
    def packer(self) -> Struct | None:
        """Packs a flat row of numbers as the floats that the network takes; None when it takes whole numbers."""
        letter = {"float32": "f", "float64": "d"}.get(self.dtype)
        return Struct(f"{math.prod(self.raw)}{letter}") if letter else None

    def cast(self, values: Array) -> Array:
        """x: (rows, *shape) in `dtype` from values: (rows, ...) of as many numbers."""
        if values.dtype == self.dtype:
            return values.reshape(-1, *self.shape)
        with np.errstate(over="ignore"):
            return values.astype(self.dtype, copy=False).reshape(-1, *self.shape)

    def shares(self, values: Array) -> dict[str, Any]:
        """values: of the shape of x, in the shape of the rows as uploaded."""
        return {self.name: values.reshape(self.raw).tolist()}

    @cached_property
    def accepted(self) -> tuple[tuple[int, ...], ...]:
        """The shapes a row may be sent in: as uploaded, as the network sees it, flat, or within a list."""
        flat = (int(np.prod(self.raw)),)
        return tuple(dict.fromkeys([self.raw, self.shape, flat, (1, *self.raw)]))


def _size(feature: Feature) -> int:
    return int(np.prod(feature.shape, dtype=np.int64))


def _joined(parts: Sequence[float | tuple[float, ...]]) -> Floats:
    return np.concatenate([np.atleast_1d(np.array(part, np.float64)) for part in parts] or [np.zeros(0)])
