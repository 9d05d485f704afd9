"""Columns whose values are lists: arrays while all rows are of one shape, else sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from service.data.place import MOST_FAULTS, place_words, pointer, refusal, row_words
from service.data.readers.table import MOST_AXES, Table
from service.data.steps import Lengths, missteps, step_of, together
from service.errors import Fault, InvalidData
from service.tensors import Array

Rows = Sequence[object]
_HINT = "a row of numbers has no gaps: fill them, or leave the row out"
_LABELS = (
    "lists of words are no column: give each word one of its own, 1 where a row has it, and name them as the target"
)


def add_lists(table: Table, name: str, values: Rows) -> None:
    """Nested lists of numbers: an array for each row while all are of one shape, else sequences."""
    shape, step = table.shape(name), table.step(name)
    found = _alike(values)
    if found is not None and (found.shape[1:] == shape or (shape is step is None)):
        if not table.faults:
            table.add_arrays(name, found)
        return
    expected = shape or (_shape(values[0]) if step is None else None) or ()
    if len(expected) > MOST_AXES:
        at = next(at for at, value in enumerate(values) if _shape(value) != expected)
        raise odd(table.rows + at, name, f"shape {expected} as in the first row, got {_shape(values[at])}")
    step = step_of(values) if step is None else step
    joined = together(values, step)
    if joined is None:
        table.faults += islice(_faults(values, name, step, table.rows), MOST_FAULTS - len(table.faults))
    elif not table.faults:
        table.add_sequences(name, *joined)


def _faults(values: Rows, name: str, step: tuple[int, ...], before: int) -> Iterator[Fault]:
    words = any(isinstance(each, str) for value in values if isinstance(value, list) for each in value)
    for row, value in enumerate(values, before):
        for each in missteps(value, step):
            message = f"{row_words(row)}, column {name!r}{place_words(each.at)}: {each.message}"
            yield Fault(pointer("rows", row, name, *each.at), each.code, message, _LABELS if words else _HINT)


def _alike(values: Rows) -> Array | None:
    """Rows of one shape as one array; None when they are not."""
    try:
        found = np.array(values)
    except ValueError:
        return None
    return found if found.dtype.kind in "iuf" and found.size else None


def _shape(value: object) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None when they are none."""
    found = _alike([value])
    return None if found is None else found.shape[1:]


def odd(row: int, name: str, expected: str) -> InvalidData:
    """The error of one value that has no place in its column."""
    message = f"{row_words(row)}, column {name!r}: expected {expected}"
    hint = "a file is an array of rows, or a row a line; a row is an object of numbers, words and lists of numbers"
    return refusal([Fault(pointer("rows", row, name), "mixed_types", message, hint)])


def add_steps(table: Table, name: str, steps: Array, lengths: Lengths) -> None:
    """The same of rows in which nothing is wrong. steps: (total, *step), at most one axis; lengths: (rows,)."""
    if table.faults:
        return
    longest, shape = int(lengths.max()), table.shape(name)
    alike = bool((lengths == longest).all())
    if alike and (shape == (longest, *steps.shape[1:]) or table.step(name) is None):
        table.add_arrays(name, steps.reshape(len(lengths), longest, *steps.shape[1:]))
    else:
        table.add_sequences(name, steps, lengths)
