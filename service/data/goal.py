"""What a loss gets from the target columns: outputs and classes, found from their descriptions."""

from __future__ import annotations

import math
from typing import Literal

from service.data.choice import Columns, is_empty
from service.data.faults import SpecFaults
from service.data.labels import label_goal
from service.data.names import target_names

TargetKind = Literal["class", "binary", "number", "distribution"]

TOLERANCE = 1e-3  # how far from 1 the sum of a distribution may be
_WORDS = {"text": "free text", "image": "images", "sequence": "sequences"}


def goal(targets: Columns, kind: TargetKind, faults: SpecFaults) -> tuple[int, tuple[str, ...] | None]:
    """(outputs, classes) that a loss of this kind gets from these columns."""
    place = "/dataset/target"
    for column in targets:
        if is_empty(column) or column.type in _WORDS:
            what = "has no value in any row" if is_empty(column) else f"holds {_WORDS[column.type]}"
            message = f"column {column.name!r} {what} and cannot be the target"
            faults.add(place, "not_a_target", message, 'name the column to learn: "target": "..." of the dataset')
            return 0, None
        if column.shape and column.missing:
            faults.add(place, "not_finite", f"column {column.name!r} has {column.missing:,} values that are not finite")
            return 0, None
    if kind == "binary" and (len(targets) > 1 or targets[0].shape):
        return label_goal(targets, place, faults)
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
    elif kind == "distribution":
        _check_shares(targets, place, faults)
    return sum(widths), target_names(targets) if kind == "distribution" else None


def _check_shares(targets: Columns, place: str, faults: SpecFaults) -> None:
    """What the columns' statistics tell already: a value that is no probability, means that do not sum to 1."""
    for column in targets:
        low, high = column.min or 0.0, column.max or 0.0
        if low < 0 or high > 1 + TOLERANCE:
            message = f"column {column.name!r} goes from {low:g} to {high:g}: these are no probabilities"
            faults.add(place, "not_a_distribution", message, "each row's must be 0 or more and sum to 1")
            return
    total = sum((column.mean or 0.0) * math.prod(column.shape) for column in targets)
    if abs(total - 1) > TOLERANCE and not any(column.missing for column in targets):
        names = ", ".join(target_names(targets)[:5])
        message = f"the columns {names} sum to {total:g} in the mean of all rows, not to 1"
        hint = "yes or no for each of several columns is the loss binary_cross_entropy"
        faults.add(place, "not_a_distribution", message, hint if _yes_or_no(targets) else None)


def _yes_or_no(targets: Columns) -> bool:
    return all(column.integer and column.max == 1 for column in targets)


def _classes(targets: Columns, kind: TargetKind, place: str, faults: SpecFaults) -> tuple[int, tuple[str, ...] | None]:
    if len(targets) > 1:
        faults.add(place, "many_columns", f"classes are one column; {len(targets)} are named",
                   "yes or no for each of them is the loss binary_cross_entropy")  # fmt: skip
        return 0, None
    column = targets[0]
    if column.classes is None:
        many = "arrays" if column.shape else "more than 1,000 values" if column.integer else "numbers with fractions"
        many = "more than 1,000 values" if column.type == "category" else many
        faults.add(place, "not_classes", f"column {column.name!r} holds {many}; this loss needs classes",
                   "use the loss squared_error for numbers" if column.type == "number" else None)  # fmt: skip
        return 0, None
    found = len(column.classes)
    if found < 2:
        faults.add(place, "one_class", f"column {column.name!r} has one class only: there is nothing to learn")
    elif kind == "binary" and found > 2:
        faults.add(place, "not_two_classes", f"column {column.name!r} has {found} classes; this loss needs two",
                   "use the loss cross_entropy with a softmax")  # fmt: skip
    return 1 if kind == "binary" else found, tuple(column.classes)
