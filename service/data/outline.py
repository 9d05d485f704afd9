"""What a network will see of a data set, found from the description alone: no array is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from service.data.description import ColumnDescription, Description
from service.data.place import pointer
from service.data.spec import DatasetSpec, Reference
from service.data.split import part_sizes
from service.errors import Fault, InvalidSpec, did_you_mean

TargetKind = Literal["class", "binary", "number", "distribution"]
FloatType = Literal["float32", "float64"]
RowType = Literal["float32", "float64", "uint8", "int32"]

MOST_CATEGORIES = 256  # slots of one column; rarer words share one more
TARGET_NAMES = ("target", "label", "labels", "class", "y", "species")
_BYTES = {"float32": 4, "float64": 8, "uint8": 1, "int32": 4}


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


@dataclass(frozen=True, slots=True)
class Outline:
    """The shapes a network gets, the spec with every default filled in, and what to warn of."""

    spec: DatasetSpec
    shape: tuple[int, ...]
    dtype: RowType
    vocabulary: int | None
    outputs: int
    classes: tuple[str, ...] | None
    rows: int
    validation_rows: int
    test_rows: int
    bytes: int
    warnings: tuple[str, ...]
    layout: Layout
    target: TargetKind


class _Faults:
    """Faults found so far; all are told at once."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, place: str, code: str, message: str, hint: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        self.found.append(Fault(place, code, message, hint, allowed))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidSpec(self.found[0].message, hint=self.found[0].hint, faults=self.found)


def outline(
    description: Description,
    spec: DatasetSpec,
    target: TargetKind,
    *,
    dtype: FloatType = "float32",
    validation: Description | None = None,
    test: Description | None = None,
) -> Outline:
    """Checks the spec against the columns and finds every shape.

    Raises InvalidSpec with all faults, their pointers from /dataset on.
    """
    faults = _Faults()
    warnings: list[str] = []
    targets, features = _choose(description, spec, faults, warnings)
    faults.raise_any()
    outputs, classes = _target(targets, spec, target, faults)
    layout = _layout(features, spec, dtype, faults)
    _check_other(validation, "validation", [*features, *targets], faults)
    _check_other(test, "test", [*features, *targets], faults)
    faults.raise_any()
    sizes = _sizes(description, spec, targets, validation, test, warnings)
    faults_of_size(sizes, faults)
    row_bytes = math.prod(layout.shape) * _BYTES[layout.dtype] + outputs * _BYTES[dtype]
    named = [column.name for column in targets]
    update = {
        "features": [column.name for column in features],
        "target": named if isinstance(spec.target, list) else named[0],
    }
    return Outline(
        spec.model_copy(update=update), layout.shape, layout.dtype, layout.vocabulary, outputs, classes, *sizes,
        bytes=row_bytes * sum(sizes), warnings=tuple(warnings), layout=layout, target=target,
    )  # fmt: skip


def faults_of_size(sizes: tuple[int, int, int], faults: _Faults) -> None:
    """Raises InvalidSpec when no row is left to train on."""
    if sizes[0] < 1:
        faults.add("/dataset", "no_rows", "no row is left to train on", "take smaller validation and test parts")
    faults.raise_any()


Columns = list[ColumnDescription]


def _choose(
    description: Description, spec: DatasetSpec, faults: _Faults, warnings: list[str]
) -> tuple[Columns, Columns]:
    """(targets, features) as named, or by the rules where they are not."""
    if description.kind == "text":
        faults.add("/dataset", "text", "a text has no columns to learn a target from", "train an n-gram model on it")
        return [], []
    if spec.column is not None:
        faults.add("/dataset/column", "not_text", "column names a text column for text models; use features here")
    columns = {column.name: column for column in description.columns}
    named = spec.targets if spec.targets is not None else [default_target(list(columns))]
    many = isinstance(spec.target, list)
    places = ["/dataset/target" + (f"/{at}" if many else "") for at in range(len(named))]
    targets = [columns[name] for name, at in zip(named, places, strict=True) if _known(name, at, columns, faults)]
    if spec.features is None:
        return targets, _default_features(columns, set(named), faults, warnings)
    return targets, _named_features(spec.features, columns, set(named), faults)


def default_target(names: list[str]) -> str:
    """The first of TARGET_NAMES that is a column, whatever its case; else the last column."""
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in TARGET_NAMES if name in by_lower), names[-1])


def _known(name: str, place: str, columns: dict[str, ColumnDescription], faults: _Faults) -> bool:
    if name in columns:
        return True
    names = list(columns)
    faults.add(place, "unknown_column", f"no column {name!r}", did_you_mean(name, names), tuple(names[:20]))
    return False


def _default_features(
    columns: dict[str, ColumnDescription], targets: set[str], faults: _Faults, warnings: list[str]
) -> Columns:
    rest = [column for name, column in columns.items() if name not in targets]
    texts = [column.name for column in rest if column.type == "text"]
    empty = [column.name for column in rest if _empty(column)]
    if texts:
        warnings.append(f"free text is not learned from: {', '.join(map(repr, texts[:10]))}")
    if empty:
        warnings.append(f"columns without any value are left out: {', '.join(map(repr, empty[:10]))}")
    features = [column for column in rest if column.type != "text" and not _empty(column)]
    if not features:
        faults.add("/dataset/features", "no_features", "no column is left to learn from beside the target")
    return features


def _named_features(
    names: list[str], columns: dict[str, ColumnDescription], targets: set[str], faults: _Faults
) -> Columns:
    features = []
    for at, name in enumerate(names):
        place = f"/dataset/features/{at}"
        if not _known(name, place, columns, faults):
            continue
        if name in targets:
            faults.add(place, "target_as_feature", f"column {name!r} is the target and cannot be a feature too")
        elif columns[name].type == "text":
            faults.add(place, "text", f"column {name!r} holds free text, which networks of tables do not learn from")
        elif _empty(columns[name]):
            faults.add(place, "no_values", f"column {name!r} has no value in any row")
        features.append(columns[name])
    return features


def _empty(column: ColumnDescription) -> bool:
    return column.distinct == 0 if column.type == "category" else column.type == "number" and column.min is None


def _target(
    targets: Columns, spec: DatasetSpec, kind: TargetKind, faults: _Faults
) -> tuple[int, tuple[str, ...] | None]:
    """(outputs, classes) that a loss of this kind gets from these columns."""
    place = "/dataset/target"
    for column in targets:
        if _empty(column) or column.type in {"text", "image"}:
            faults.add(place, "not_a_target", f"column {column.name!r} ({column.type}) has no values to learn")
            return 0, None
    if kind in {"class", "binary"}:
        return _classes(targets, kind, place, faults)
    widths = [math.prod(column.shape) for column in targets]
    for column in targets:
        if column.type == "category" or len(column.shape) > 1:
            what = "words" if column.type == "category" else f"arrays of shape {tuple(column.shape)}"
            faults.add(place, "not_numbers", f"column {column.name!r} holds {what}; this loss needs numbers",
                       "use the loss cross_entropy for classes")  # fmt: skip
    if kind == "distribution" and sum(widths) < 2:
        faults.add(place, "one_column", "a distribution needs a column of its probability for each class")
    return sum(widths), target_names(targets) if kind == "distribution" else None


def target_names(targets: Columns) -> tuple[str, ...]:
    """A name for each number of the target: the column's, or the column's and a place."""
    return tuple(
        column.name if not column.shape else f"{column.name}[{at}]"
        for column in targets
        for at in range(math.prod(column.shape))
    )


def _classes(targets: Columns, kind: TargetKind, place: str, faults: _Faults) -> tuple[int, tuple[str, ...] | None]:
    if len(targets) > 1:
        faults.add(place, "many_columns", f"classes are one column; {len(targets)} are named")
        return 0, None
    column = targets[0]
    if column.classes is None:
        many = "arrays" if column.shape else "more than 1,000 values" if column.integer else "numbers with fractions"
        many = "more than 1,000 values" if column.type == "category" else many
        faults.add(place, "not_classes", f"column {column.name!r} holds {many}; this loss needs classes",
                   "use the loss mean_squared_error for numbers" if column.type == "number" else None)  # fmt: skip
        return 0, None
    found = len(column.classes)
    if kind == "binary" and found != 2:
        faults.add(place, "not_two_classes", f"column {column.name!r} has {found} classes; this loss needs two",
                   "use the loss cross_entropy with a softmax" if found > 2 else None)  # fmt: skip
    elif found < 2:
        faults.add(place, "one_class", f"column {column.name!r} has one class only: there is nothing to learn")
    return 1 if kind == "binary" else found, tuple(class_order(column))


def class_order(column: ColumnDescription) -> list[str]:
    """The classes of a column: numbers in order, words in alphabetical order."""
    return list(column.classes or [])


def _layout(features: Columns, spec: DatasetSpec, dtype: FloatType, faults: _Faults) -> Layout:
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


def _check_feature(column: ColumnDescription, spec: DatasetSpec, faults: _Faults) -> None:
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


def _check_other(other: Description | None, part: str, columns: Columns, faults: _Faults) -> None:
    """A separate validation or test set has the same columns, of types that can be read the same way."""
    if other is None:
        return
    found = {column.name: column for column in other.columns}
    for column in columns:
        same = found.get(column.name)
        place = f"/dataset/{part}"
        if same is None:
            hint = did_you_mean(column.name, list(found))
            faults.add(place, "unknown_column", f"the {part} data set has no column {column.name!r}", hint)
        elif same.shape != column.shape or not _readable(same, column):
            faults.add(
                place, "other_type", f"column {column.name!r} is {_type(column)}, in the {part} set {_type(same)}"
            )


def _readable(other: ColumnDescription, column: ColumnDescription) -> bool:
    if column.type == "category":
        return other.type in {"category", "text", "number"}
    return other.type == column.type and (column.dtype == "uint8") == (other.dtype == "uint8")


def _type(column: ColumnDescription) -> str:
    return f"{column.type} {tuple(column.shape)} of {column.dtype}" if column.shape else column.type


def _sizes(
    description: Description,
    spec: DatasetSpec,
    targets: Columns,
    validation: Description | None,
    test: Description | None,
    warnings: list[str],
) -> tuple[int, int, int]:
    """(training, validation, test) rows; with several incomplete targets the fewest it can be."""
    missing = min(sum(column.missing for column in targets if not column.shape), description.rows)
    if missing:
        warnings.append(f"{missing:,} rows without a target are left out")
    fractions = [0.0 if isinstance(part, Reference) else part for part in (spec.validation, spec.test)]
    train, validation_rows, test_rows = part_sizes(description.rows - missing, *fractions)
    names = {column.name for column in targets}
    return (
        train,
        _complete(validation, names) if validation is not None else validation_rows,
        _complete(test, names) if test is not None else test_rows,
    )


def _complete(other: Description, targets: set[str]) -> int:
    missing = sum(column.missing for column in other.columns if column.name in targets and not column.shape)
    return max(0, other.rows - missing)
