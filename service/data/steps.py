"""Rows of unequal length, such as traces of a sensor: lists of numbers, or lists of so many numbers at each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.place import shown
from service.tensors import Array

Step = tuple[int, ...]
"""The shape of one step: `()` of a number, `(k,)` of a list of k."""
Lengths = NDArray[np.int64]
_BITS = 1023  # of the largest whole number that float64 holds


@dataclass(frozen=True, slots=True)
class Misstep:
    """Something wrong in a row, `at` this step and number of it."""

    at: tuple[int, ...]
    code: str
    message: str


def together(rows: Sequence[Any], step: Step) -> tuple[Array, Lengths] | None:
    """(the steps of all rows one after the other, (total, *step); the steps of each row); None when one is no such row.

    What is not None has no fault but for numbers beyond a type's range.
    """
    if {*map(type, rows)} != {list}:
        return None
    flat, lengths = list(chain.from_iterable(rows)), np.fromiter(map(len, rows), np.int64, len(rows))
    numbers = flat
    if step:
        if {*map(type, flat)} != {list}:
            return None
        numbers = list(chain.from_iterable(flat))
    if not lengths.all() or not {*map(type, numbers)} <= {int, float}:
        return None
    try:
        found = np.array(flat)
    except ValueError:  # steps of different sizes
        return None
    return (found, lengths) if found.shape[1:] == step and found.dtype.kind in "iuf" else None


def step_of(rows: Sequence[Any]) -> Step:
    """The shape of a step, by the first row that has one."""
    first = next((row[0] for row in rows if isinstance(row, list) and row), 0.0)
    return (len(first),) if isinstance(first, list) and first else ()


def missteps(row: object, step: Step) -> Iterator[Misstep]:
    """Everything that is wrong with a row."""
    if not isinstance(row, list):
        yield Misstep((), "not_a_list", f"expected a list of {'lists of numbers' if step else 'numbers'}{_got(row)}")
    elif not row:
        yield Misstep((), "empty_sequence", "expected at least one step, got an empty list")
    elif not step:
        yield from (Misstep((at,), *wrong) for at, each in enumerate(row) if (wrong := _wrong(each)))
    else:
        yield from chain.from_iterable(_in_step(at, each, step[0]) for at, each in enumerate(row))


def _in_step(at: int, numbers: object, width: int) -> Iterator[Misstep]:
    if not isinstance(numbers, list):
        yield Misstep((at,), "not_a_step", f"expected a list of {width} numbers{_got(numbers)}")
    elif len(numbers) != width:
        yield Misstep((at,), "ragged_step", f"expected {width} numbers as in the first step, got {len(numbers)}")
    else:
        yield from (Misstep((at, place), *wrong) for place, each in enumerate(numbers) if (wrong := _wrong(each)))


def _wrong(value: object) -> tuple[str, str] | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not_a_number", f"expected a number{_got(value)}"
    fits = value.bit_length() <= _BITS if isinstance(value, int) else math.isfinite(value)
    return None if fits else ("out_of_range", f"expected a finite number{_got(value)}")


def _got(value: object) -> str:
    if value is None:
        return ", got null"
    return f", got {str(value).lower() if isinstance(value, bool) else shown(value)}"
