"""Several labels, yes or no each: one column a label, or one column of arrays of 0 and 1."""

from __future__ import annotations

from service.data.choice import Columns
from service.data.description import ColumnDescription
from service.data.faults import SpecFaults
from service.data.names import target_names

YES = frozenset({"1", "true", "yes", "y", "t", "on"})


def label_goal(targets: Columns, place: str, faults: SpecFaults) -> tuple[int, tuple[str, ...] | None]:
    """(labels, their names). A word that is no plain yes stands in the name: `sex=male`."""
    for column in targets:
        name, count = repr(column.name), len(column.classes or ())
        if column.shape and (len(targets) > 1 or not _is_hot(column)):
            message = f"column {name} holds arrays that are no labels: those are one column of 0 and 1 alone"
            faults.add(place, "not_labels", message, "squared_error is a loss for numbers")
        elif not column.shape and count != 2:
            message = f"column {name} has {count or 'too many'} values: a label has two, for no and for yes"
            faults.add(place, "not_labels", message, "leave it out, or learn it apart")
    if faults.found:
        return 0, None
    if targets[0].shape:
        return len(names := target_names(targets)), names
    return len(targets), tuple(map(_named, targets))


def _is_hot(column: ColumnDescription) -> bool:
    low, high = column.min or 0, column.max or 0
    return column.integer and low >= 0 and high <= 1 and len(column.shape) == 1 and column.shape[0] > 1


def _named(column: ColumnDescription) -> str:
    yes = (column.classes or [""])[-1]
    return column.name if yes.lower() in YES else f"{column.name}={yes}"
