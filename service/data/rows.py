"""Reads rows as a caller sends them: objects by column name, or arrays in the features' order; all faults in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.data.columns import number_text
from service.data.encoders import ArrayFeature, CategoryFeature, Codes, Flat, NumberFeature, Whole
from service.data.place import pointer, shown
from service.data.readers.csv_table import MISSING
from service.data.statistics import Floats
from service.errors import Fault, InvalidData, did_you_mean
from service.tensors import Array

MOST_FAULTS = 50

Values = Sequence[Any]


class RowFaults:
    """Faults found so far, by row and column."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.found: list[Fault] = []

    def add(self, row: int, name: str | None, code: str, message: str, hint: str | None = None) -> None:
        """One thing wrong in a row, or in one column of it."""
        if len(self.found) < MOST_FAULTS:
            parts: list[str | int] = [row] if name is None else [row, name]
            where = f"row {row}" if name is None else f"row {row}, column {name!r}"
            self.found.append(Fault(self._place + pointer(*parts), code, f"{where}: {message}", hint))

    def raise_any(self) -> None:
        """Raises InvalidData with all faults, if there are any."""
        if self.found:
            raise InvalidData(self.found[0].message, hint=self.found[0].hint, faults=self.found)


def read_flat(rows: Values, flat: Flat, known: frozenset[str], place: str) -> Array:
    """x: (rows, width) of a table's rows. `known` are all columns of the data set; those not learned from are ignored.

    Raises InvalidData with every fault.
    """
    faults = RowFaults(place)
    table = _listed(rows, flat, known)
    if table is None:
        _check_rows(rows, flat, known, faults)
        faults.raise_any()
        raise AssertionError("a row that cannot be listed has no fault")
    numbers = _plain(table, flat) if flat.only_numbers else None
    codes: Codes = np.zeros((len(rows), 0), np.intp)
    if numbers is None:
        numbers, codes = _encoded(table, flat, faults)
        faults.raise_any()
    x = flat.assemble(numbers, codes)
    if not np.isfinite(x).all():
        for row in np.flatnonzero(~np.isfinite(x).all(axis=1)).tolist():
            faults.add(row, None, "too_large", f"a number is too large for {flat.dtype} after scaling")
        faults.raise_any()
    return x


def _listed(rows: Values, flat: Flat, known: frozenset[str]) -> list[Values] | None:
    """Each row's values in the features' order; None when a row is neither object nor array, or not complete."""
    width, pick, table = len(flat.features), flat.pick, list[Values]()
    for row in rows:
        if isinstance(row, dict):
            try:
                values = pick(row)
            except KeyError:
                return None
            if len(row) != width and not row.keys() <= known:
                return None
            table.append(values)
        elif isinstance(row, list) and len(row) == width:
            table.append(row)
        else:
            return None
    return table


def _plain(table: list[Values], flat: Flat) -> Floats | None:
    """All values as numbers, when they are numbers and finite; else None."""
    if not set(map(type, chain.from_iterable(table))) <= {int, float}:
        return None
    try:
        packed = b"".join([flat.packer.pack(*row) for row in table])
    except OverflowError:
        return None
    numbers = np.frombuffer(packed, np.float64).reshape(len(table), -1)
    return numbers if np.isfinite(numbers).all() else None


def _check_rows(rows: Values, flat: Flat, known: frozenset[str], faults: RowFaults) -> None:
    names = [feature.name for feature in flat.features]
    for at, row in enumerate(rows):
        if isinstance(row, dict):
            _check_keys(at, row, names, known, faults)
        elif not isinstance(row, list):
            faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", _order(names))
        elif len(row) != len(names):
            faults.add(at, None, "wrong_length", f"expected {len(names)} values, got {len(row)}", _order(names))


def _order(names: list[str]) -> str:
    first = ", ".join(names[:10])
    return f"an array has the columns {first}{', ...' if len(names) > 10 else ''} in this order"


def _check_keys(at: int, row: dict[str, Any], names: list[str], known: frozenset[str], faults: RowFaults) -> None:
    for name in names:
        if name not in row:
            faults.add(at, name, "missing_column", "expected a value, got none", "send null for a missing value")
    for name in row:
        if name not in known:
            hint = did_you_mean(str(name), names) or f"the columns are {', '.join(names[:10])}"
            faults.add(at, str(name)[:100], "unknown_column", "no such column", hint)


def _encoded(table: list[Values], flat: Flat, faults: RowFaults) -> tuple[Floats, Codes]:
    rows = len(table)
    numbers, codes = [np.zeros((rows, 0))], [np.zeros((rows, 0), np.intp)]
    for feature, values in zip(flat.features, zip(*table, strict=True), strict=True):
        if isinstance(feature, CategoryFeature):
            codes.append(_codes(values, feature, faults))
        elif isinstance(feature, ArrayFeature):
            numbers.append(_array(values, feature, faults))
        else:
            numbers.append(_numbers(values, feature, faults))
    return np.concatenate(numbers, 1), np.concatenate(codes, 1)


def _codes(values: Values, feature: CategoryFeature, faults: RowFaults) -> Codes:
    try:
        slots = list(map(feature.slots.get, values))
    except TypeError:  # a list or an object
        slots = [None]
    if None in slots:
        slots = [_code(at, value, feature, faults) for at, value in enumerate(values)]
    return np.array(slots, np.intp)[:, None]


def _numbers(values: Values, feature: NumberFeature, faults: RowFaults) -> Floats:
    if set(map(type, values)) <= {int, float}:
        try:
            found = np.array(values, np.float64)
        except OverflowError:
            found = np.array([np.inf])
        if np.isfinite(found).all():
            return found[:, None]
    return np.array([[_number(at, value, feature, faults)] for at, value in enumerate(values)])


def _number(at: int, value: Any, feature: NumberFeature, faults: RowFaults) -> float:
    if value is None and feature.fills:
        return np.nan
    if type(value) not in {int, float}:
        hint = "send null for a missing value" if isinstance(value, str) and feature.fills else None
        faults.add(at, feature.name, "not_a_number", f"expected a number, got {shown(value)}", hint)
        return 0.0
    if abs(value) <= np.finfo(np.float64).max:  # false for NaN
        return float(value)
    faults.add(at, feature.name, "not_finite", f"expected a finite number, got {shown(value)}")
    return 0.0


def _code(at: int, value: Any, feature: CategoryFeature, faults: RowFaults) -> int:
    """The slot of a word; numbers and true and false count as the words that a CSV has for them."""
    if value is None:
        return feature.absent
    if isinstance(value, bool):
        value = next((word for word in (str(value), str(value).lower()) if word in feature.slots), str(value))
    elif isinstance(value, int | float) and abs(value) <= np.finfo(np.float64).max:
        value = number_text(value)
    elif not isinstance(value, str):
        faults.add(at, feature.name, "not_a_word", f"expected a word, got {shown(value)}")
        return -1
    slot = feature.slots.get(value)
    slot = feature.slots.get(value.strip()) if slot is None else slot
    if slot is not None:
        return slot
    return feature.absent if value.strip() in MISSING else feature.unknown


def _array(values: Values, feature: ArrayFeature, faults: RowFaults) -> Floats:
    found = [_one(at, value, feature.name, (feature.shape,), faults) for at, value in enumerate(values)]
    size = int(np.prod(feature.shape))
    return np.stack([np.zeros(size) if one is None else one.reshape(-1).astype(np.float64) for one in found])


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
    if whole.dtype == "uint8" and set(map(type, chain.from_iterable(rows))) == {int}:
        return _bytes(rows, whole)
    try:
        found = np.array(rows)
    except ValueError:
        return None
    if found.shape[1:] not in whole.accepted or not _all_numbers(rows, found.ndim):
        return None
    return found if fits(found, whole.dtype) else None


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
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype, copy=False)).all())


def _row_array(at: int, row: Any, whole: Whole, known: frozenset[str], faults: RowFaults) -> Array | None:
    if isinstance(row, dict):
        if not {whole.name} <= row.keys() <= known:
            _check_keys(at, row, [whole.name], known, faults)
        if whole.name not in row:
            return None
        return _one(at, row[whole.name], whole.name, whole.accepted, faults, whole.dtype)
    if isinstance(row, list):
        return _one(at, row, None, whole.accepted, faults, whole.dtype)
    hint = f"an array of shape {whole.raw}, or an object with {whole.name!r}"
    faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", hint)
    return None


def _one(
    at: int, value: Any, name: str | None, shapes: Sequence[tuple[int, ...]], faults: RowFaults, dtype: str = "float64"
) -> Array | None:
    """One row's array, checked."""
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
        expected = {"uint8": "whole numbers from 0 to 255", "int32": "whole numbers below 2^31"}.get(
            dtype, "finite numbers"
        )
        faults.add(
            at, name, "out_of_range", f"expected {expected}", "send values as in the data set; scaling is done here"
        )
        return None
    return found


def _shape_words(found: Array, value: Any) -> str:
    return str(found.shape) if isinstance(value, list) else shown(value)
