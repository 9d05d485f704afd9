"""Reads rows as a caller sends them: objects by column name, or arrays in the features' order; all faults in place."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.data.columns import number_text
from service.data.dates import DateFeature
from service.data.encoders import ArrayFeature, CategoryFeature, Codes, Flat, NumberFeature, canonical
from service.data.faults import RowFaults, check_keys
from service.data.place import shown
from service.data.statistics import Floats
from service.data.whole_rows import row_array
from service.data.wishes import date_hint, seconds
from service.tensors import Array

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")

Values = Sequence[Any]


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
    numbers = _plain(table, flat.packer) if flat.only_numbers and flat.packer else None
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
        elif isinstance(row, list) and flat.only_array and not (len(row) == 1 and isinstance(row[0], list)):
            table.append([row])
        elif isinstance(row, list) and len(row) == width:
            table.append(row)
        else:
            return None
    return table


def _plain(table: list[Values], packer: struct.Struct) -> Floats | None:
    """All values as numbers, when they are numbers and finite; else None."""
    if not set(map(type, chain.from_iterable(table))) <= {int, float}:
        return None
    try:
        packed = b"".join([packer.pack(*row) for row in table])
    except struct.error:  # an int beyond every float
        return None
    numbers = np.frombuffer(packed, np.float64).reshape(len(table), -1)
    return numbers if np.isfinite(numbers).all() else None


def _check_rows(rows: Values, flat: Flat, known: frozenset[str], faults: RowFaults) -> None:
    names = [feature.name for feature in flat.features]
    for at, row in enumerate(rows):
        if isinstance(row, dict):
            check_keys(at, row, names, known, faults)
        elif not isinstance(row, list):
            faults.add(at, None, "not_a_row", f"expected an object or an array, got {shown(row)}", _order(names))
        elif len(row) != len(names):
            faults.add(at, None, "wrong_length", f"expected {len(names)} values, got {len(row)}", _order(names))


def _order(names: list[str]) -> str:
    first = ", ".join(names[:10])
    return f"an array has the columns {first}{', ...' if len(names) > 10 else ''} in this order"


def _encoded(table: list[Values], flat: Flat, faults: RowFaults) -> tuple[Floats, Codes]:
    rows = len(table)
    numbers, codes = [np.zeros((rows, 0))], [np.zeros((rows, 0), np.intp)]
    for feature, values in zip(flat.features, zip(*table, strict=True), strict=True):
        if isinstance(feature, CategoryFeature):
            codes.append(_codes(values, feature, faults))
        elif isinstance(feature, ArrayFeature):
            numbers.append(_array(values, feature, faults))
        elif isinstance(feature, DateFeature):
            numbers.append(np.array([[_date(at, value, feature, faults)] for at, value in enumerate(values)]))
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


def _date(at: int, value: Any, feature: DateFeature, faults: RowFaults) -> float:
    """Seconds since 1970, from those or from an ISO 8601 date."""
    if isinstance(value, str) and canonical(value) is not None:
        try:
            return seconds(value.strip())
        except ValueError:
            hint = "2024-01-31, 2024-01-31T18:30:00Z, or seconds since 1970"
            faults.add(at, feature.name, "not_a_date", f"expected a date, got {shown(value)}", hint)
            return 0.0
    return _number(at, None if isinstance(value, str) else value, feature, faults)


def _number(at: int, value: Any, feature: NumberFeature | DateFeature, faults: RowFaults) -> float:
    if value is None and feature.fills:
        return np.nan
    if type(value) not in {int, float}:
        hint = date_hint(value, feature.name) if isinstance(value, str) else None
        if hint is None and isinstance(value, str):
            gap = "send null for a missing value" if feature.fills else None
            hint = "send it without quotes" if _NUMBER.fullmatch(value) else gap
        faults.add(at, feature.name, "not_a_number", f"expected a number, got {shown(value)}", hint)
        return 0.0
    if abs(value) <= sys.float_info.max:  # false for NaN
        return float(value)
    faults.add(at, feature.name, "not_finite", f"expected a finite number, got {shown(value)}")
    return 0.0


def _code(at: int, value: Any, feature: CategoryFeature, faults: RowFaults) -> int:
    """The slot of a word; numbers and true and false count as the words that a CSV has for them."""
    if feature.drops and (value is None or (isinstance(value, str) and canonical(value) is None)):
        faults.add(at, feature.name, "missing_value", f"expected a word, got {shown(value)}")
    if value is None:
        return feature.absent
    if isinstance(value, bool):
        value = next((word for word in (str(value), str(value).lower()) if word in feature.slots), str(value))
    elif isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        value = number_text(value)
    elif not isinstance(value, str):
        faults.add(at, feature.name, "not_a_word", f"expected a word, got {shown(value)}")
        return -1
    return feature.slot(value)


def _array(values: Values, feature: ArrayFeature, faults: RowFaults) -> Floats:
    found = [row_array(at, value, feature.name, (feature.shape,), faults) for at, value in enumerate(values)]
    size = int(np.prod(feature.shape))
    return np.stack([np.zeros(size) if one is None else one.reshape(-1).astype(np.float64) for one in found])
