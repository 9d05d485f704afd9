"""Everything a model must remember to turn raw rows into x and y into named answers; stored with it as JSON."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from service.data.dates import DateFeature
from service.data.encoders import ArrayFeature, CategoryFeature, Feature, Flat, NumberFeature, Whole
from service.data.flat_rows import read_flat
from service.data.place import pointer, sent_row
from service.data.sequences import Sequences, cut, read_sequences
from service.data.targets import (
    Answer,
    BinaryTarget,
    ClassTarget,
    DistributionTarget,
    LabelsTarget,
    NumberTarget,
    Target,
)
from service.data.whole_rows import expected, finite, read_whole, takes
from service.errors import Fault, InvalidData
from service.tensors import Array

VERSION = 1
Encoder = Flat | Whole | Sequences


@dataclass(frozen=True)
class Preprocessor:
    """Found in the training part, applied to every row from then on."""

    encoder: Encoder
    target: Target
    columns: frozenset[str]  # all of the data set: a row may carry those that are not learned from

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row of x."""
        return self.encoder.shape

    @property
    def dtype(self) -> str:
        """The type of x."""
        return self.encoder.dtype

    @property
    def scale(self) -> float:
        """What the network sees is x * scale + offset."""
        return self.encoder.scale

    @property
    def offset(self) -> float:
        """What the network sees is x * scale + offset."""
        return self.encoder.offset

    @property
    def vocabulary(self) -> int | None:
        """For rows of whole numbers kept as they are: one more than the greatest."""
        return None if isinstance(self.encoder, Flat) else self.encoder.vocabulary

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for a row."""
        return self.target.outputs

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, or of the labels, in the order of the outputs; None for numbers."""
        return self.target.classes

    @property
    def one_of(self) -> bool:
        """Whether an answer is one of several classes."""
        return not isinstance(self.target, NumberTarget | LabelsTarget)

    @property
    def units(self) -> tuple[float, ...]:
        """What 1 of each number of y is in the target's own units; nothing when y is not scaled."""
        return self.target.deviation if isinstance(self.target, NumberTarget) else ()

    @property
    def features(self) -> list[dict[str, object]]:
        """What a row consists of, in order: name, type, and shape of each; -1 is any number of steps."""
        if isinstance(self.encoder, Sequences):
            return self.encoder.features
        if isinstance(self.encoder, Whole):
            return [{"name": self.encoder.name, "type": self.encoder.type, "shape": list(self.encoder.raw)}]
        return [{"name": f.name, "type": f.type, "shape": list(f.shape)} for f in self.encoder.features]

    @property
    def is_table(self) -> bool:
        """Whether rows are made of columns, not one array each."""
        return isinstance(self.encoder, Flat)

    @property
    def steps(self) -> int | None:
        """How many the longest training row has, when rows are sequences of any length; their x are objects then."""
        return self.encoder.longest if isinstance(self.encoder, Sequences) else None

    @cached_property
    def width(self) -> int | None:
        """How many numbers a row is when it is sent as numbers alone; None when it holds words or several arrays, or
        is of any length."""
        if isinstance(self.encoder, Sequences):
            return None
        if isinstance(self.encoder, Whole):
            return math.prod(self.encoder.raw)
        return self.encoder.count if self.encoder.packer is not None else None

    def work(self, rows: Sequence[object]) -> int:
        """How often these rows go through a network's weights, about: sequences do at every step."""
        return sum(map(self.encoder.length, rows)) if isinstance(self.encoder, Sequences) else len(rows)

    def rows(self, rows: Sequence[object], place: str = "/rows") -> Array:
        """x of rows as a caller sends them: objects by column name, or arrays in the features' order.

        Raises InvalidData with every fault at its place.
        """
        if not rows:
            raise InvalidData("there are no rows", faults=[Fault(place, "no_rows", "expected at least one row")])
        if isinstance(self.encoder, Whole):
            return read_whole(rows, self.encoder, self.columns, place)
        if isinstance(self.encoder, Sequences):
            return read_sequences(rows, self.encoder, self.columns, place)
        return read_flat(rows, self.encoder, self.columns, place)

    def plain(self, rows: Sequence[Any]) -> Array | None:
        """x of rows that are known to hold no true, false or null; None when they are not flat lists of finite numbers.

        What is not None is what `rows` gives, three times as fast.
        """
        encoder = self.encoder
        if isinstance(encoder, Sequences):
            return None
        try:
            if encoder.packer is not None:
                data = b"".join([encoder.packer.pack(*row) for row in rows])
            elif encoder.dtype == "uint8" and {*map(type, rows)} == {list} and {*map(len, rows)} == {self.width}:
                data = b"".join(map(bytes, rows))
            else:
                return None
        except (TypeError, ValueError, OverflowError, struct.error):
            return None
        return self._packed(encoder, data, len(rows))

    def floats(self, data: bytes) -> Array | None:
        """x of rows of little-endian float32, where the network takes them as they are; else, or when it cannot, None.

        What is not None is what `array` gives.
        """
        encoder = self.encoder
        if not isinstance(encoder, Whole) or encoder.dtype != "float32":
            return None
        x = np.frombuffer(data, "<f4").reshape(-1, *encoder.shape)
        return x if finite(x) else None

    def _packed(self, encoder: Flat | Whole, data: bytes, rows: int) -> Array | None:
        if isinstance(encoder, Flat):
            numbers = np.frombuffer(data, np.float64).reshape(rows, -1)
            x = encoder.assemble(numbers, np.zeros((rows, 0), np.intp))
            return x if np.isfinite(x).all() and np.isfinite(numbers).all() else None
        x = np.frombuffer(data, encoder.dtype).reshape(rows, *encoder.shape)
        return x if encoder.packer is None or finite(x) else None

    def array(self, x: Array, place: str = "/rows") -> Array:
        """x of an array at hand: (rows, *shape), (rows, *raw shape) or (rows, numbers of a row). Raises InvalidData."""
        if isinstance(self.encoder, Whole):
            return self._whole_array(x, self.encoder, place)
        if isinstance(self.encoder, Sequences):
            return self._of_one_length(x, self.encoder, place)
        width = self.width
        if width is None:
            message = "rows with words cannot be sent as an array of numbers; send objects by column name"
            raise InvalidData(message, faults=[Fault(place, "not_numbers", message)])
        if x.ndim < 2 or math.prod(x.shape[1:]) != width or x.dtype.kind not in "iuf":
            raise _wrong_array(x, f"(rows, {width})", place)
        numbers = x.reshape(-1, width).astype(np.float64)
        found = self.encoder.assemble(numbers, np.zeros((len(x), 0), np.intp))
        wrong = np.logical_not(np.isfinite(found).all(axis=1) & np.isfinite(numbers).all(axis=1))
        if wrong.any():
            raise _not_taken(wrong, place)
        return found

    def _whole_array(self, x: Array, whole: Whole, place: str) -> Array:
        if x.shape[1:] not in whole.accepted or x.dtype.kind not in "iuf":
            raise _wrong_array(x, f"(rows, {', '.join(map(str, whole.raw))})", place)
        if not takes(x, whole):
            raise _not_taken(np.array([not takes(row, whole) for row in x]), place, expected(whole))
        return whole.cast(x)

    def _of_one_length(self, x: Array, encoder: Sequences, place: str) -> Array:
        if x.ndim < 2 or x.shape[2:] not in encoder.plain or not x.shape[1] or x.dtype.kind not in "iuf":
            raise _wrong_array(x, f"(rows, {', '.join(['steps', *map(str, encoder.plain[0])])})", place)
        steps = x.reshape(-1, *x.shape[2:])
        if not encoder.takes(steps):
            raise _not_taken(np.array([not encoder.takes(row) for row in x]), place, f"expected {encoder.expected}")
        return cut(encoder.cast(steps), np.full(len(x), x.shape[1]))

    @property
    def named(self) -> tuple[str, ...]:
        """What each number of `numbers` is: a class, or a target."""
        return self.target.names if isinstance(self.target, NumberTarget) else self.target.classes

    def numbers(self, y: Array) -> Array:
        """The predictions of a network's output y as numbers, (rows, len(named)): probabilities, or values."""
        return self.target.numbers(y)

    def answers(self, y: Array, top_k: int | None = None) -> list[Answer]:
        """The predictions of a network's output y: (rows, outputs), as a caller reads them."""
        return self.target.answers(y, top_k)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "version": VERSION,
            "encoder": _encoder_json(self.encoder),
            "target": {"kind": self.target.kind, **_fields(self.target)},
            "columns": sorted(self.columns),
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Preprocessor:
        """The inverse of `to_json`. Raises InvalidData when it is of another version."""
        if stored.get("version") != VERSION:
            raise InvalidData(f"a preprocessor of version {stored.get('version')} cannot be read by this service")
        return Preprocessor(_encoder(stored["encoder"]), _target(stored["target"]), frozenset(stored["columns"]))


def _wrong_array(x: Array, expected: str, place: str) -> InvalidData:
    message = f"expected numbers of shape {expected}, got {x.dtype} of shape {x.shape}"
    return InvalidData(message, faults=[Fault(place, "wrong_shape", message)])


def _not_taken(wrong: Array, place: str, hint: str | None = None) -> InvalidData:
    faults = [
        Fault(place + pointer(row), "out_of_range", f"{sent_row(row)} holds numbers out of range", hint)
        for row in np.flatnonzero(wrong)[:20].tolist()
    ]
    return InvalidData(faults[0].message, faults=faults)


_FEATURES: dict[str, type[Feature]] = {
    "number": NumberFeature, "array": ArrayFeature, "category": CategoryFeature, "date": DateFeature,
}  # fmt: skip
_TARGETS: dict[str, type[Target]] = {
    "class": ClassTarget,
    "binary": BinaryTarget,
    "labels": LabelsTarget,
    "number": NumberTarget,
    "distribution": DistributionTarget,
}


def _fields(stored: Encoder | Feature | Target) -> dict[str, Any]:
    return {field.name: getattr(stored, field.name) for field in fields(stored)}


def _encoder_json(encoder: Encoder) -> dict[str, Any]:
    if not isinstance(encoder, Flat):
        return {"kind": "whole" if isinstance(encoder, Whole) else "sequences", **_fields(encoder)}
    features = [{"type": feature.type, **_fields(feature)} for feature in encoder.features]
    return {"kind": "flat", "width": encoder.width, "dtype": encoder.dtype, "features": features}


def _encoder(stored: Mapping[str, Any]) -> Encoder:
    given = {name: _tuples(value) for name, value in stored.items() if name != "kind"}
    if stored["kind"] == "whole":
        return Whole(**given)
    if stored["kind"] == "sequences":
        return Sequences(**given)
    features = [
        _FEATURES[one["type"]](**{name: _tuples(value) for name, value in one.items() if name != "type"})
        for one in stored["features"]
    ]
    return Flat(**{**given, "features": tuple(features)})


def _target(stored: Mapping[str, Any]) -> Target:
    given = {name: _tuples(value) for name, value in stored.items() if name != "kind"}
    return _TARGETS[stored["kind"]](**given)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
