"""Where each feature goes in x, found from its description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from service.data.dates import DateParts
from service.data.description import ColumnDescription
from service.data.faults import SpecFaults
from service.data.missing import Policy, check_missing, drops, indicated, policy_of
from service.data.place import pointer
from service.data.spec import DatasetSpec
from service.errors import did_you_mean

FloatType = Literal["float32", "float64"]
RowType = Literal["float32", "float64", "uint8", "int32"]

MOST_CATEGORIES = 256  # slots of one column; rarer words share one more


@dataclass(frozen=True, slots=True)
class Slot:
    """A feature's place among the numbers of a row: `width` of them from `start`."""

    column: ColumnDescription
    start: int
    width: int
    missing: Policy | None = None
    date: DateParts | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How features become x. `whole`: the row is one array kept as it is; `timed`: a sequence of any length, shorter
    rows padded; else a vector of slots."""

    shape: tuple[int, ...]
    dtype: RowType
    vocabulary: int | None
    whole: bool
    slots: tuple[Slot, ...]
    timed: bool = False


def lay_out(features: list[ColumnDescription], spec: DatasetSpec, dtype: FloatType, faults: SpecFaults) -> Layout:
    """Where the features go; what cannot be a feature goes to `faults`."""
    check_missing(spec.missing, features, faults)
    _check_dates(features, spec, faults)
    for column in features:
        _check_feature(column, spec, faults)
    if any(column.type == "sequence" for column in features):
        return _timed(features, spec, dtype, faults)
    first = features[0]
    if len(features) == 1 and first.shape and _kept_whole(first, spec):
        return _whole(first, spec, dtype)
    slots, start = [], 0
    for column in features:
        policy, date = policy_of(spec.missing, column), (spec.dates or {}).get(column.name)
        width = slot_width(column, policy, date)
        slots.append(Slot(column, start, width, policy, date))
        start += width
    return Layout((start,), dtype, None, False, tuple(slots))


def _check_feature(column: ColumnDescription, spec: DatasetSpec, faults: SpecFaults) -> None:
    at = spec.features.index(column.name) if spec.features else None
    place = pointer("dataset", "features", *([] if at is None else [at]))
    if column.shape and column.missing:
        message = f"column {column.name!r} has {column.missing:,} values that are not finite"
        faults.add(
            place, "not_finite", message, "fill them before the upload (numpy.nan_to_num), or leave such rows out"
        )
    if spec.preprocess != "none":
        return
    hint = 'use "preprocess": "auto", or name the columns to learn from in "features"'
    if column.type == "category":
        faults.add(place, "words", f"column {column.name!r} holds words, which preprocess none does not encode", hint)
    elif column.type == "number" and column.missing and not drops(policy_of(spec.missing, column)):
        message = f"column {column.name!r} has {column.missing:,} missing values, which preprocess none does not fill"
        faults.add(place, "missing_values", message, hint)


def _check_dates(features: list[ColumnDescription], spec: DatasetSpec, faults: SpecFaults) -> None:
    columns = {column.name: column for column in features}
    for name in spec.dates or {}:
        place, column = pointer("dataset", "dates", name), columns.get(name)
        if column is None:
            message = f"no column {name!r} is learned from"
            faults.add(place, "unknown_column", message, did_you_mean(name, list(columns)), tuple(columns)[:20])
        elif column.type != "number" or column.shape:
            hint = f"upload the data with types={name}:date"
            faults.add(place, "not_a_date", f"column {name!r} holds no dates: seconds since 1970", hint)
        elif spec.preprocess == "none":
            faults.add(place, "not_encoded", "preprocess none takes numbers as they are", 'use "preprocess": "auto"')


def _kept_whole(column: ColumnDescription, spec: DatasetSpec) -> bool:
    """All arrays but vectors of measurements, whose numbers are scaled one by one."""
    return spec.preprocess == "none" or column.dtype == "uint8" or len(column.shape) > 1


def _timed(features: list[ColumnDescription], spec: DatasetSpec, dtype: FloatType, faults: SpecFaults) -> Layout:
    """x: (longest, numbers of a step, side by side); (longest,) of whole numbers that are taken as they are."""
    columns = [column for column in features if column.type == "sequence"]
    first = columns[0]
    for column in features:
        place = pointer("dataset", "features", *([spec.features.index(column.name)] if spec.features else []))
        if column.type != "sequence":
            message = f"column {column.name!r} cannot be learned from beside the sequences of {first.name!r}"
            faults.add(place, "not_a_sequence", message, "leave it out, or put it into every step")
        elif _counts(column) != _counts(first):
            message = f"the rows of {column.name!r} are not as long as those of {first.name!r}"
            faults.add(place, "other_length", message, "learn from one of them alone")
    longest, steps = first.shape[0], [tuple(column.shape[1:]) for column in columns]
    slots = tuple(Slot(column, 0, math.prod(column.shape)) for column in columns)
    if spec.preprocess == "none" and steps == [()] and (vocabulary := _vocabulary(first)):
        return Layout((longest,), "int32", vocabulary, False, slots, timed=True)
    return Layout((longest, sum(map(math.prod, steps))), dtype, None, False, slots, timed=True)


def _counts(column: ColumnDescription) -> tuple[int, ...] | None:
    """What is known of all rows' lengths together."""
    found = column.lengths
    return None if found is None else (found.shortest, found.longest, found.steps)


def _vocabulary(column: ColumnDescription) -> int | None:
    """One more than the greatest of whole numbers from 0 on; None of others."""
    if not column.integer or column.min is None or column.max is None or column.min < 0 or column.max >= 2**31 - 1:
        return None
    return int(column.max) + 1


def _whole(column: ColumnDescription, spec: DatasetSpec, dtype: FloatType) -> Layout:
    shape = tuple(column.shape)
    if column.type == "image" and len(shape) == 2:
        shape = (*shape, 1)
    found: RowType = "uint8" if column.dtype == "uint8" else dtype
    vocabulary = _vocabulary(column) if spec.preprocess == "none" and found != "uint8" else None
    if vocabulary is not None:
        found = "int32"
    return Layout(shape, found, vocabulary, True, (Slot(column, 0, math.prod(shape)),))


def slot_width(column: ColumnDescription, policy: Policy | None = None, date: DateParts | None = None) -> int:
    """How many numbers of x a column takes when x is a vector."""
    if column.type == "category":
        distinct = column.distinct or 0
        own = column.missing > 0 and (policy is None or policy.kind in ("own_category", "constant"))
        return min(distinct, MOST_CATEGORIES) + int(distinct > MOST_CATEGORIES) + int(own)
    if column.type == "number" and not column.shape:
        indicator = column.missing > 0 and indicated(policy)
        return (1 if date is None else date.width) + int(indicator)
    return math.prod(column.shape)
