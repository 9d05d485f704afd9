"""Where each feature goes in x, found from its description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from service.data.description import ColumnDescription
from service.data.faults import SpecFaults
from service.data.place import pointer
from service.data.spec import DatasetSpec

FloatType = Literal["float32", "float64"]
RowType = Literal["float32", "float64", "uint8", "int32"]

MOST_CATEGORIES = 256  # slots of one column; rarer words share one more


@dataclass(frozen=True, slots=True)
class Slot:
    """A feature's place among the numbers of a row: `width` of them from `start`."""

    column: ColumnDescription
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How features become x. `whole`: the row is one array kept as it is; else a vector of slots."""

    shape: tuple[int, ...]
    dtype: RowType
    vocabulary: int | None
    whole: bool
    slots: tuple[Slot, ...]


def lay_out(features: list[ColumnDescription], spec: DatasetSpec, dtype: FloatType, faults: SpecFaults) -> Layout:
    """Where the features go; what cannot be a feature goes to `faults`."""
    for column in features:
        _check_feature(column, spec, faults)
    first = features[0]
    if len(features) == 1 and first.shape and _kept_whole(first, spec):
        return _whole(first, spec, dtype)
    slots, start = [], 0
    for column in features:
        width = slot_width(column)
        slots.append(Slot(column, start, width))
        start += width
    return Layout((start,), dtype, None, False, tuple(slots))


def _check_feature(column: ColumnDescription, spec: DatasetSpec, faults: SpecFaults) -> None:
    at = spec.features.index(column.name) if spec.features else None
    place = pointer("dataset", "features", *([] if at is None else [at]))
    if column.shape and column.missing:
        faults.add(place, "not_finite", f"column {column.name!r} has {column.missing:,} values that are not finite")
    if spec.preprocess != "none":
        return
    hint = 'use "preprocess": "auto", or name the columns to learn from in "features"'
    if column.type == "category":
        faults.add(place, "words", f"column {column.name!r} holds words, which preprocess none does not encode", hint)
    elif column.type == "number" and column.missing:
        message = f"column {column.name!r} has {column.missing:,} missing values, which preprocess none does not fill"
        faults.add(place, "missing_values", message, hint)


def _kept_whole(column: ColumnDescription, spec: DatasetSpec) -> bool:
    """All arrays but vectors of measurements, whose numbers are scaled one by one."""
    return spec.preprocess == "none" or column.dtype == "uint8" or len(column.shape) > 1


def _whole(column: ColumnDescription, spec: DatasetSpec, dtype: FloatType) -> Layout:
    shape = tuple(column.shape)
    if column.type == "image" and len(shape) == 2:
        shape = (*shape, 1)
    found: RowType = "uint8" if column.dtype == "uint8" else dtype
    vocabulary = None
    tokens = column.integer and found != "uint8" and column.min is not None and column.max is not None
    if spec.preprocess == "none" and tokens and (column.min or 0) >= 0 and (column.max or 0) < 2**31 - 1:
        found, vocabulary = "int32", int(column.max or 0) + 1
    return Layout(shape, found, vocabulary, True, (Slot(column, 0, math.prod(shape)),))


def slot_width(column: ColumnDescription) -> int:
    """How many numbers of x a column takes when x is a vector."""
    missing = int(column.missing > 0)
    if column.type == "category":
        distinct = column.distinct or 0
        return min(distinct, MOST_CATEGORIES) + int(distinct > MOST_CATEGORIES) + missing
    return 1 + missing if column.type == "number" else math.prod(column.shape)
