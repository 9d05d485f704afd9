"""Turns rows of unequal length into x: each step scaled as in training, shorter rows followed by zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import numpy as np

from service.data.faults import RowFaults, check_keys
from service.data.packed import plain_bytes
from service.data.place import shown
from service.data.sound import heard
from service.data.statistics import Floats
from service.data.steps import Lengths, Step, missteps, together
from service.data.whole_rows import are_ids, finite, id_words
from service.errors import InvalidData
from service.tensors import Array

_NO_GAPS = "a row has all its sequences"


@dataclass(frozen=True)
class Sequences:
    """Rows that are one sequence each: every number of a step (v - mean) / deviation, or whole numbers as they are.

    Of columns whose rows are equally long the steps lie side by side. `steps`: the shape of each column's.
    `longest`: how many steps training rows were padded to; a prediction may have more.
    """

    names: tuple[str, ...]
    steps: tuple[Step, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    longest: int
    dtype: str
    vocabulary: int | None
    samples_per_s: int | None = None  # of sounds

    type: ClassVar[str] = "sequence"
    scale: ClassVar[float] = 1.0
    offset: ClassVar[float] = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one padded row of x."""
        return (self.longest, *self.inner)

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of one step of x."""
        return () if self.vocabulary is not None else (len(self.mean),)

    @property
    def features(self) -> list[dict[str, object]]:
        """Name, type, and shape as it is sent of each column; -1 is any number of steps."""
        named = zip(self.names, self.steps, strict=True)
        return [{"name": name, "type": self.type, "shape": [-1, *step]} for name, step in named]

    @property
    def plain(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of a step in an array of numbers at hand."""
        return (self.steps[0], self.inner) if len(self.steps) == 1 else (self.inner,)

    @cached_property
    def _scaling(self) -> tuple[Floats, Floats]:
        return np.array(self.mean), np.array(self.deviation)

    def cast(self, steps: Array) -> Array:
        """(total, *inner) in `dtype` of steps side by side; what is too large becomes infinite."""
        if self.vocabulary is not None:
            return steps.astype(self.dtype, copy=False)
        mean, deviation = self._scaling
        with np.errstate(over="ignore"):
            found: Array = ((steps.reshape(-1, len(mean)) - mean) / deviation).astype(self.dtype)
        return found

    def takes(self, steps: Array) -> bool:
        """Whether steps side by side survive scaling, and are what the network takes."""
        if self.vocabulary is not None:
            return are_ids(steps, self.dtype, self.vocabulary)
        return finite(steps) and finite(self.cast(steps))

    @property
    def expected(self) -> str:
        """What `takes` asks for, in words."""
        if self.vocabulary is not None:
            return id_words(self.vocabulary)
        return "finite numbers that scaling leaves finite"

    def length(self, row: object) -> int:
        """How many steps a row has as it is sent, which may be wrong."""
        value = row.get(self.names[0]) if isinstance(row, dict) else (self.bare(row) or [None])[0]
        return len(value) if isinstance(value, list) else 1

    def bare(self, row: object) -> list[Any] | None:
        """Each column's of a row without names: a list of them, of one also without a list around it."""
        if not isinstance(row, list) or len(self.names) > 1:
            return row if isinstance(row, list) and len(row) == len(self.names) else None
        inner: Any = row
        for _ in range(1 + len(self.steps[0])):  # down to a step's first number
            inner = inner[0] if isinstance(inner, list) and inner else None
        return row if isinstance(inner, list) and len(row) == 1 else [row]

    def shares(self, values: Array) -> dict[str, Any]:
        """values: (steps, *inner), in the shapes of a row as uploaded."""
        ends = np.cumsum([math.prod(step) for step in self.steps])[:-1]
        parts = np.split(values.reshape(len(values), -1), ends, axis=1)
        named = zip(self.names, self.steps, parts, strict=True)
        return {name: part.reshape(len(part), *step).tolist() for name, step, part in named}


def abreast(parts: Sequence[Array]) -> Array:
    """(total, numbers) of several columns' steps; of one column as they are."""
    return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(len(part), -1) for part in parts], 1)


def cut(steps: Array, lengths: Lengths) -> Array:
    """(rows,) objects: a row's steps each, of all rows' (total, ...)."""
    found = np.empty(len(lengths), object)
    ends = np.cumsum(lengths)
    for at, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        found[at] = steps[end - length : end]
    return found


def padded(steps: Array, lengths: Lengths, longest: int) -> Array:
    """(rows, longest, ...) of all rows' steps (total, ...), zeros behind a row's own."""
    x = np.zeros((len(lengths), longest, *steps.shape[1:]), steps.dtype)
    x[np.arange(longest) < lengths[:, None]] = steps
    return x


def read_sequences(rows: Sequence[Any], encoder: Sequences, known: frozenset[str], place: str) -> Array:
    """(rows,) objects, (its steps, *inner) each. Raises InvalidData with every fault."""
    faults = RowFaults(place)
    sent = [_sent(at, row, encoder, known, faults) for at, row in enumerate(rows)]
    found = [None if faults.found else together([row[at] for row in sent], step)  # type: ignore[index]
             for at, step in enumerate(encoder.steps)]  # fmt: skip
    joined = [each for each in found if each is not None]
    if len(joined) < len(found) or any((each[1] != joined[0][1]).any() for each in joined):
        _tell(rows, sent, encoder, faults)
    lengths = joined[0][1]
    steps = abreast([steps for steps, _ in joined])
    for at, each in enumerate(cut(steps, lengths)):
        if not encoder.takes(each):
            faults.add(at, _name(rows[at], encoder, 0), "out_of_range", f"expected {encoder.expected}")
    faults.raise_any()
    return cut(encoder.cast(steps), lengths)


def _sent(at: int, row: object, encoder: Sequences, known: frozenset[str], faults: RowFaults) -> list[Any] | None:
    """What each column holds, of an object or a list; None when one is not there."""
    if isinstance(row, dict):
        if not {*encoder.names} <= row.keys() <= known:
            check_keys(at, row, list(encoder.names), known, faults, _NO_GAPS)
        if not {*encoder.names} <= row.keys():
            return None
        values = [row[name] for name in encoder.names]
        return _heard(at, values[0], encoder, faults, encoder.names[0]) if _is_sound(values[0], encoder) else values
    if _is_sound(row, encoder):
        return _heard(at, row, encoder, faults)
    found = encoder.bare(row)
    if found is None:
        several = ", ".join(map(repr, encoder.names))
        hint = f"an object with {several}, or a list of {'its steps' if len(encoder.names) == 1 else 'them, in order'}"
        faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", hint)
    return found


def _is_sound(value: object, encoder: Sequences) -> bool:
    """Whether a row is a file's bytes, or their base64 where sounds were learned."""
    return isinstance(value, bytes) or (isinstance(value, str) and encoder.samples_per_s is not None)


def _heard(at: int, value: Any, encoder: Sequences, faults: RowFaults, name: str | None = None) -> list[Any] | None:
    """The samples of a WAV file as the only column's."""
    step = encoder.steps[0]
    try:
        found = heard(plain_bytes(value), step[0] if step else 1, encoder.samples_per_s)
    except InvalidData as error:
        faults.add(at, name, "not_readable", error.message, error.hint)
        return None
    return [found.reshape(-1, *step).tolist()]


def _tell(rows: Sequence[Any], sent: Sequence[list[Any] | None], encoder: Sequences, faults: RowFaults) -> NoReturn:
    """Everything that is wrong within the sequences, and between those of a row."""
    for at, values in enumerate(sent):
        for column, (step, value) in enumerate(zip(encoder.steps, values or (), strict=False)):
            name, first = _name(rows[at], encoder, column), (values or [None])[0]
            for each in missteps(value, step):
                faults.add(at, name, each.code, each.message, at=each.at)
            if isinstance(value, list) and isinstance(first, list) and value and first and len(value) != len(first):
                words = f"expected {len(first)} steps, as in {encoder.names[0]!r}, got {len(value)}"
                faults.add(at, name, "other_length", words)
    faults.raise_any()
    raise AssertionError("rows that cannot be joined have a fault")


def _name(row: object, encoder: Sequences, column: int) -> str | None:
    """By which name a value was sent; a row that is the only column's sequence has none."""
    return encoder.names[column] if isinstance(row, dict) or len(encoder.names) > 1 else None
