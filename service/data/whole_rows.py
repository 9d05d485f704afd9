"""Reads rows that are one array each, such as images, as a caller sends them; all faults in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.data.encoders import Whole
from service.data.faults import RowFaults, check_keys
from service.data.packed import unpack
from service.data.place import shown
from service.errors import InvalidData
from service.tensors import Array

Values = Sequence[Any]
_RANGES = {"uint8": "whole numbers from 0 to 255", "int32": "whole numbers below 2^31"}


def read_whole(rows: Values, whole: Whole, known: frozenset[str], place: str) -> Array:
    """x: (rows, *shape) of rows that are one array each. Raises InvalidData with every fault."""
    found = _stacked(rows, whole)
    if found is not None:
        return whole.cast(found)
    faults = RowFaults(place)
    each = [_row_array(at, row, whole, known, faults) for at, row in enumerate(rows)]
    faults.raise_any()
    return whole.cast(np.stack([one.reshape(whole.raw) for one in each if one is not None]))


def _stacked(rows: Values, whole: Whole) -> Array | None:
    """All rows as one array, when each is of the same accepted shape and all is in order; else None."""
    kinds = set(map(type, rows))
    if kinds == {dict} and all(row.keys() == {whole.name} for row in rows):
        rows = [row[whole.name] for row in rows]
    elif kinds != {list}:
        return None
    if whole.dtype == "uint8":
        flat = _flattened(rows, whole.raw)
        if set(map(type, chain.from_iterable(flat))) == {int}:
            return _bytes(flat, whole)
    try:
        found = np.array(rows)
    except ValueError:
        return None
    if found.shape[1:] not in whole.accepted or not _all_numbers(rows, found.ndim):
        return None
    return found if takes(found, whole) else None


def _flattened(rows: Values, raw: tuple[int, ...]) -> Values:
    """Images of lines of pixels as pixels one after the other; anything else as it is."""
    if len(raw) != 2 or set(map(len, rows)) != {raw[0]}:
        return rows
    lines = list(chain.from_iterable(rows))
    if set(map(type, lines)) != {list} or set(map(len, lines)) != {raw[1]}:
        return rows
    return [list(chain.from_iterable(row)) for row in rows]


def _bytes(rows: Values, whole: Whole) -> Array | None:
    """Flat rows of ints from 0 to 255; None when one is not."""
    try:
        data = b"".join(map(bytes, rows))
    except ValueError:
        return None
    if set(map(len, rows)) != {math.prod(whole.raw)}:
        return None
    return np.frombuffer(data, np.uint8)


def _all_numbers(rows: Iterable[Any], axes: int) -> bool:
    """Whether nested lists of so many axes hold ints and floats only: true and false are none."""
    for _ in range(axes - 1):
        rows = chain.from_iterable(rows)
    return set(map(type, rows)) <= {int, float}


def fits(values: Array, dtype: str) -> bool:
    """Whether numbers survive in the type that the network takes: whole and in range, or finite."""
    if values.dtype.kind not in "iuf":
        return False
    if dtype in {"uint8", "int32"}:
        if not values.size or values.dtype == dtype:
            return True
        bounds = np.iinfo(dtype)
        inside = values.min() >= bounds.min and values.max() <= bounds.max  # false when NaN is in it
        return bool(inside and (values.dtype.kind != "f" or (values == np.floor(values)).all()))
    if values.dtype == dtype:
        return finite(values)
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype, copy=False)).all())


def are_ids(values: Array, dtype: str, vocabulary: int) -> bool:
    """Whether numbers are ids of a vocabulary."""
    return fits(values, dtype) and bool(values.min(initial=0) >= 0 and values.max(initial=0) < vocabulary)


def id_words(vocabulary: int) -> str:
    """What `are_ids` asks for."""
    return f"whole numbers from 0 to {vocabulary - 1:,}, as in training"


def takes(values: Array, whole: Whole) -> bool:
    """Whether numbers are what the network takes: ids of its vocabulary, or what survives in its type."""
    if whole.vocabulary is not None:
        return are_ids(values, whole.dtype, whole.vocabulary)
    return fits(values, whole.dtype)


def expected(whole: Whole) -> str:
    """What `takes` asks for, in words."""
    if whole.vocabulary is not None:
        return f"expected {id_words(whole.vocabulary)}"
    return f"expected {_RANGES.get(whole.dtype, 'finite numbers')}"


def finite(values: Array) -> bool:
    """Whether all numbers are."""
    return bool(np.logical_and.reduce(np.isfinite(values), None))  # `all` goes through Python once more


def _row_array(at: int, row: Any, whole: Whole, known: frozenset[str], faults: RowFaults) -> Array | None:
    if isinstance(row, dict):
        if not {whole.name} <= row.keys() <= known:
            check_keys(at, row, [whole.name], known, faults)
        if whole.name not in row:
            return None
        if isinstance(row[whole.name], str | bytes):
            return _unpacked(at, row[whole.name], whole.name, whole, faults)
        return _taken(at, row[whole.name], whole.name, whole, faults)
    if isinstance(row, str | bytes):
        return _unpacked(at, row, None, whole, faults)
    if isinstance(row, list):
        return _taken(at, row, None, whole, faults)
    hint = f"an array of shape {whole.raw}, or an object with {whole.name!r}"
    faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", hint)
    return None


def _taken(at: int, value: Any, name: str | None, whole: Whole, faults: RowFaults) -> Array | None:
    found = row_array(at, value, name, whole.accepted, faults, whole.dtype)
    if found is None or takes(found, whole):
        return found
    faults.add(at, name, "out_of_range", expected(whole))
    return None


def _unpacked(at: int, value: str | bytes, name: str | None, whole: Whole, faults: RowFaults) -> Array | None:
    try:
        found = unpack(value, whole)
    except InvalidData as error:
        faults.add(at, name, "not_readable", error.message, error.hint)
        return None
    if takes(found, whole):
        return found
    faults.add(at, name, "out_of_range", expected(whole))
    return None


def row_array(
    at: int, value: Any, name: str | None, shapes: Sequence[tuple[int, ...]], faults: RowFaults, dtype: str = "float64"
) -> Array | None:
    """One row's array, checked; None when something is wrong with it."""
    try:
        found = np.array(value)
    except ValueError:
        faults.add(at, name, "wrong_shape", f"expected shape {shapes[0]}, got lists of different lengths")
        return None
    if found.shape not in shapes:
        faults.add(at, name, "wrong_shape", f"expected shape {shapes[0]}, got {_shape_words(found, value)}")
        return None
    if not _all_numbers([value], found.ndim + 1):
        faults.add(at, name, "not_a_number", "expected numbers only", "words, null, true and false are none")
        return None
    if not fits(found, dtype):
        words = f"expected {_RANGES.get(dtype, 'finite numbers')}"
        faults.add(at, name, "out_of_range", words, "send values as in the data set; scaling is done here")
        return None
    return found


def _shape_words(found: Array, value: Any) -> str:
    return str(found.shape) if isinstance(value, list) else shown(value)
