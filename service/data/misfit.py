"""Why a data set does not fit a model: the words for it, by column and by row."""

from __future__ import annotations

import numpy as np

from service.data.dataset import Column, Dataset
from service.data.place import MOST_FAULTS, pointer, row_words
from service.errors import Fault, did_you_mean
from service.tensors import Array


def absent(name: str, dataset: Dataset) -> Fault:
    """No column of that name."""
    hint = did_you_mean(name, list(dataset.columns)) or f"there are {', '.join(map(repr, list(dataset.columns)[:10]))}"
    return Fault(pointer("columns", name), "missing_column", f"there is no column {name!r}", hint)


def is_words(column: Column) -> bool:
    """Whether it holds words, short or long."""
    return column.description.type in ("category", "text")


def wrong_type(name: str, column: Column, expected: str) -> Fault:
    """A column of another type."""
    shape, kind = tuple(column.description.shape), column.description.type
    what = f"arrays of shape {shape}" if shape else {"number": "numbers", "category": "words"}.get(kind, kind)
    return Fault(pointer("columns", name), "wrong_type", f"column {name!r} holds {what}, expected {expected}")


def fault(row: int, name: str, code: str, words: str, hint: str | None = None) -> Fault:
    """One value that cannot be."""
    return Fault(pointer("rows", row, name), code, f"{row_words(row)}, column {name!r}: {words}", hint)


def first(wrong: Array) -> list[int]:
    """The first rows that are wrong, as many as are told."""
    return list(np.flatnonzero(wrong)[:MOST_FAULTS].tolist())
