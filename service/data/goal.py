"""What a loss gets from the target columns: outputs and classes, found from their descriptions."""

from __future__ import annotations

import math
from typing import Literal

from service.data.choice import Columns, is_empty
from service.data.faults import SpecFaults

TargetKind = Literal["class", "binary", "number", "distribution"]

_WORDS = {"text": "free text", "image": "images", "sequence": "sequences"}


def goal(targets: Columns, kind: TargetKind, faults: SpecFaults) -> tuple[int, tuple[str, ...] | None]:
    """(outputs, classes) that a loss of this kind gets from these columns."""
    place = "/dataset/target"
    for column in targets:
        if is_empty(column) or column.type in _WORDS:
            what = "has no value in any row" if is_empty(column) else f"holds {_WORDS[column.type]}"
            faults.add(place, "not_a_target", f"column {column.name!r} {what} and cannot be the target")
            return 0, None
        if column.shape and column.missing:
            faults.add(place, "not_finite", f"column {column.name!r} has {column.missing:,} values that are not finite")
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


def _classes(targets: Columns, kind: TargetKind, place: str, faults: SpecFaults) -> tuple[int, tuple[str, ...] | None]:
    if len(targets) > 1:
        faults.add(place, "many_columns", f"classes are one column; {len(targets)} are named")
        return 0, None
    column = targets[0]
    if column.classes is None:
        many = "arrays" if column.shape else "more than 1,000 values" if column.integer else "numbers with fractions"
        many = "more than 1,000 values" if column.type == "category" else many
        faults.add(place, "not_classes", f"column {column.name!r} holds {many}; this loss needs classes",
                   "use the loss squared_error for numbers" if column.type == "number" else None)  # fmt: skip
        return 0, None
    found = len(column.classes)
    if kind == "binary" and found != 2:
        faults.add(place, "not_two_classes", f"column {column.name!r} has {found} classes; this loss needs two",
                   "use the loss cross_entropy with a softmax" if found > 2 else None)  # fmt: skip
    elif found < 2:
        faults.add(place, "one_class", f"column {column.name!r} has one class only: there is nothing to learn")
    return 1 if kind == "binary" else found, tuple(column.classes)
