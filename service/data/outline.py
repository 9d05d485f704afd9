"""What a network will see of a data set, found from the description alone: no array is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.data.choice import Columns, check_split, choose
from service.data.description import ColumnDescription, Description
from service.data.faults import SpecFaults
from service.data.goal import TargetKind, goal
from service.data.layout import FloatType, Layout, RowType, lay_out
from service.data.missing import drops
from service.data.spec import DatasetSpec
from service.data.split import fractions, split_sizes
from service.errors import did_you_mean

_FULL = 0.5  # share of steps that are no padding, below which a reader is told
_BYTES = {"float32": 4, "float64": 8, "uint8": 1, "int32": 4}


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
    faults = SpecFaults()
    warnings: list[str] = []
    if description.kind == "weights":
        faults.add("/dataset", "no_rows", "these are weights of a network, not rows", "name them as initial_weights")
    faults.raise_any()
    targets, features = choose(description, spec, faults, warnings)
    faults.raise_any()
    check_split(description, spec, targets, faults, classes=target in ("class", "binary"))
    outputs, classes = goal(targets, target, faults)
    layout = _padded(lay_out(features, spec, dtype, faults), (description, validation, test), warnings)
    _check_other(validation, "validation", [*features, *targets], faults)
    _check_other(test, "test", [*features, *targets], faults)
    faults.raise_any()
    sizes = _sizes(description, spec, targets, layout, validation, test, warnings)
    _check_size(sizes[0], faults)
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


def _padded(layout: Layout, parts: Sequence[Description | None], warnings: list[str]) -> Layout:
    """Sequences as long as the longest row of all data sets, the first of which is trained on.

    Warns where few rows decide it.
    """
    if not layout.timed:
        return layout
    column, every = layout.slots[0].column, [part for part in parts if part is not None]
    longest = max(each.shape[0] for part in every for each in part.columns if each.name == column.name and each.shape)
    lengths = column.lengths
    share = 1.0 if lengths is None else lengths.steps / (every[0].rows * longest)
    if lengths is not None and share < _FULL:
        warnings.append(
            f"rows are padded to the longest, {longest:,} steps, and {1 - share:.0%} of all steps are padding, which"
            f" costs memory and time: the median row has {lengths.median:g}; cut, split or leave out the longest rows"
        )
    return replace(layout, shape=(longest, *layout.shape[1:]))


def _check_size(rows: int, faults: SpecFaults) -> None:
    if rows < 1:
        faults.add("/dataset", "no_rows", "no row is left to train on", "take smaller validation and test parts")
    faults.raise_any()


def _check_other(other: Description | None, part: str, columns: Columns, faults: SpecFaults) -> None:
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
        elif same.shape and same.missing:
            message = f"column {column.name!r} of the {part} set has {same.missing:,} values that are not finite"
            faults.add(place, "not_finite", message)
        elif not _of_one_shape(same, column) or not _readable(same, column):
            faults.add(
                place, "other_type", f"column {column.name!r} is {_type(column)}, in the {part} set {_type(same)}"
            )


def _of_one_shape(other: ColumnDescription, column: ColumnDescription) -> bool:
    if column.type == "sequence":
        return bool(other.shape) and other.shape[1:] == column.shape[1:]
    return other.shape == column.shape and other.type != "sequence"


def _readable(other: ColumnDescription, column: ColumnDescription) -> bool:
    if column.type == "sequence":
        return other.type in {"sequence", "array", "image"}
    if column.type == "category":
        return other.type in {"category", "text", "number"}
    return other.type == column.type and (column.dtype == "uint8") == (other.dtype == "uint8")


def _type(column: ColumnDescription) -> str:
    return f"{column.type} {tuple(column.shape)} of {column.dtype}" if column.shape else column.type


def _sizes(
    description: Description,
    spec: DatasetSpec,
    targets: Columns,
    layout: Layout,
    validation: Description | None,
    test: Description | None,
    warnings: list[str],
) -> tuple[int, int, int]:
    """(training, validation, test) rows; with several incomplete targets the fewest it can be.

    Of rows dropped for a missing feature as many as there are when one column's gaps do not depend on another's.
    """
    missing = min(sum(column.missing for column in targets if not column.shape), description.rows)
    if missing:
        warnings.append(f"{missing:,} rows without a target are left out")
    dropped = [slot.column for slot in layout.slots if drops(slot.missing) and slot.column.missing]
    if dropped:
        warnings.append(f"rows without {', '.join(column.name for column in dropped[:10])} are left out")
    left = math.prod([1 - column.missing / description.rows for column in dropped], start=description.rows - missing)
    train, validation_rows, test_rows = split_sizes(description, spec, round(left))
    for name, share, count in zip(("validation", "test"), fractions(spec), (validation_rows, test_rows), strict=True):
        if share and not count:
            warnings.append(f"the {name} part has no row, and no scores: there are too few rows")
    names = {column.name for column in targets}
    return (
        train,
        _complete(validation, names) if validation is not None else validation_rows,
        _complete(test, names) if test is not None else test_rows,
    )


def _complete(other: Description, targets: set[str]) -> int:
    missing = sum(column.missing for column in other.columns if column.name in targets and not column.shape)
    return max(0, other.rows - missing)
