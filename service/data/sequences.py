"""Turns rows of unequal length into x: each step scaled as in training, shorter rows followed by zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from service.data.faults import RowFaults, check_keys
from service.data.place import shown
from service.data.statistics import Floats
from service.data.steps import Lengths, Step, missteps, together
from service.data.whole_rows import finite, fits
from service.tensors import Array


@dataclass(frozen=True)
class Sequences:
    """Rows that are one sequence each: every number of a step (v - mean) / deviation, or whole numbers as they are.

    `longest`: how many steps training rows were padded to; a prediction may have more.
    """

    name: str
    step: Step
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    longest: int
    dtype: str
    vocabulary: int | None

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
    def raw(self) -> tuple[int, ...]:
        """The shape of one row as it is sent, -1 for any number of steps."""
        return (-1, *self.step)

    @cached_property
    def _scaling(self) -> tuple[Floats, Floats]:
        return np.array(self.mean), np.array(self.deviation)

    def cast(self, steps: Array) -> Array:
        """(total, *inner) in `dtype` of steps as they are sent, (total, *step); what is too large becomes infinite."""
        if self.vocabulary is not None:
            return steps.astype(self.dtype, copy=False)
        mean, deviation = self._scaling
        with np.errstate(over="ignore"):
            found: Array = ((steps.reshape(-1, len(mean)) - mean) / deviation).astype(self.dtype)
        return found

    def takes(self, steps: Array) -> bool:
        """Whether steps as they are sent survive scaling, and what the network takes."""
        if self.vocabulary is not None:
            return fits(steps, self.dtype) and steps.min(initial=0) >= 0 and steps.max(initial=0) < self.vocabulary
        return finite(steps) and finite(self.cast(steps))

    @property
    def expected(self) -> str:
        """What `takes` asks for, in words."""
        if self.vocabulary is not None:
            return f"whole numbers from 0 to {self.vocabulary - 1:,}, as in training"
        return "finite numbers that scaling leaves finite"

    def length(self, row: object) -> int:
        """How many steps a row has as it is sent, which may be wrong."""
        value = row.get(self.name) if isinstance(row, dict) else self.bare(row) if isinstance(row, list) else None
        return len(value) if isinstance(value, list) else 1

    def bare(self, row: list[Any]) -> Any:
        """The sequence of a row without names: the row itself, or what its list of one feature holds."""
        inner: Any = row
        for _ in range(1 + len(self.step)):  # down to a step's first number
            inner = inner[0] if isinstance(inner, list) and inner else None
        return row[0] if isinstance(inner, list) and len(row) == 1 else row

    def shares(self, values: Array) -> dict[str, Any]:
        """values: (steps, *inner), in the shape of a row as uploaded."""
        return {self.name: values.reshape(len(values), *self.step).tolist()}


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
    sent = [found for at, row in enumerate(rows) if (found := _sent(at, row, encoder, known, faults))]
    joined = None if faults.found else together([value for _, _, value in sent], encoder.step)
    if joined is None:
        for at, name, value in sent:
            for each in missteps(value, encoder.step):
                faults.add(at, name, each.code, each.message, at=each.at)
        faults.raise_any()
        raise AssertionError("rows that cannot be joined have a fault")
    x = cut(joined[0], joined[1])
    for (at, name, _), each in zip(sent, x, strict=True):
        if not encoder.takes(each):
            faults.add(at, name, "out_of_range", f"expected {encoder.expected}")
    faults.raise_any()
    return cut(encoder.cast(joined[0]), joined[1])


def _sent(
    at: int, row: object, encoder: Sequences, known: frozenset[str], faults: RowFaults
) -> tuple[int, str | None, object] | None:
    """(its number, by which name, the sequence) of a row: an object, the sequence itself, or a list around it."""
    if isinstance(row, dict):
        if not {encoder.name} <= row.keys() <= known:
            check_keys(at, row, [encoder.name], known, faults)
        return (at, encoder.name, row[encoder.name]) if encoder.name in row else None
    if isinstance(row, list):
        return at, None, encoder.bare(row)
    hint = f"a list of its steps, or an object with {encoder.name!r}"
    faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", hint)
    return None
