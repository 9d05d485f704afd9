"""Which rows train, validate and test: decided by the spec and the row's number, on every machine the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.data.dataset import Column, Dataset
from service.data.description import Description
from service.data.spec import ByColumn, DatasetSpec, Fold, Ordered, Reference

Ids = NDArray[np.int64]
Parts = tuple[Ids, Ids, Ids]


def part_sizes(rows: int, validation: float, test: float) -> tuple[int, int, int]:
    """(training, validation, test) rows.

    Each fraction is rounded to whole rows, and of a fraction above 0 to one at least while a row is left to train on.
    """
    test_rows = _share(rows, test)
    validation_rows = _share(rows, validation, rows - test_rows)
    return rows - validation_rows - test_rows, validation_rows, test_rows


def _share(rows: int, fraction: float, left: int | None = None) -> int:
    return round(rows * fraction) or int(fraction > 0 and (rows if left is None else left) > 1)


def fractions(spec: DatasetSpec) -> tuple[float, float]:
    """(validation, test) as shares of the data set's own rows; a part that is a data set of its own takes none."""
    validation, test = (0.0 if isinstance(part, Reference) else part for part in (spec.validation, spec.test))
    return validation, test


def split_sizes(description: Description, spec: DatasetSpec, rows: int) -> tuple[int, int, int]:
    """How many of `rows` each part gets, from the description alone; by a column as far as its counts are known."""
    if isinstance(spec.split, Fold):
        _, _, test_rows = part_sizes(rows, *fractions(spec))
        start, end = _fold(rows - test_rows, spec.split)
        return rows - test_rows - (end - start), end - start, test_rows
    if not isinstance(spec.split, ByColumn):
        return part_sizes(rows, *fractions(spec))
    named = spec.split.column
    top = {each.value: each.count for column in description.columns if column.name == named for each in column.top}
    held, last = (min(top.get(value or "", 0), rows) for value in (spec.split.validation, spec.split.test))
    return max(rows - held - last, 1), held, last


def split_rows(dataset: Dataset, spec: DatasetSpec, ids: Ids) -> Parts:
    """(training, validation, test) of the rows `ids`, each in the file's order. The columns named are there."""
    how = spec.split
    if isinstance(how, ByColumn):
        words = np.array(dataset.columns[how.column].take(ids), object).astype(str)
        held, last = (words == value if value is not None else np.zeros(len(ids), bool)
                      for value in (how.validation, how.test))  # fmt: skip
        return ids[~(held | last)], ids[held], ids[last & ~held]
    validation, test = fractions(spec)
    order = hashed(ids, spec.split_seed)
    if isinstance(how, Ordered):
        order = _latest_first(None if how.column is None else dataset.columns[how.column], ids)
    elif spec.stratified:
        order = order[_mixed(dataset.columns[(spec.targets or [""])[0]], ids[order])]
    if isinstance(how, Fold):
        last, rest = np.split(order, [part_sizes(len(ids), 0.0, test)[2]])
        before, held, behind = np.split(rest, _fold(len(rest), how))
        train, held, last = (np.sort(ids[part]) for part in (np.concatenate([before, behind]), held, last))
        return train, held, last
    return cut(ids, order, validation, test)


def cut(ids: Ids, order: Ids, validation: float, test: float) -> Parts:
    """Test takes the first of `order`, validation the next."""
    if validation + test == 0:
        return ids, ids[:0], ids[:0]
    _, validation_rows, test_rows = part_sizes(len(ids), validation, test)
    ends = [test_rows, test_rows + validation_rows]
    test_ids, validation_ids, train_ids = (np.sort(ids[part]) for part in np.split(order, ends))
    return train_ids, validation_ids, test_ids


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number's hash: the generator's first output with it as the seed (Steele, Lea and Flood, 2014)."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed(ids: Ids, seed: int) -> Ids:
    """Places in `ids`, ranked by a hash of row and seed."""
    seeded = splitmix64(np.array([seed], np.uint64))
    return np.argsort(splitmix64(ids.astype(np.uint64) ^ seeded), kind="stable")


def _latest_first(column: Column | None, ids: Ids) -> Ids:
    """Places in `ids`, the last row first; rows without a value at the end."""
    if column is None:
        return np.arange(len(ids))[::-1]
    if column.description.type == "number":
        rising = np.argsort(np.nan_to_num(column.values[ids], nan=-np.inf), kind="stable")
    else:
        words = ["" if word is None else str(word) for word in column.take(ids)]
        rising = np.argsort(np.array(words), kind="stable")
    return rising[::-1]


def _mixed(target: Column, ids: Ids) -> Ids:
    """Places in `ids`, the classes in even turns: each row at the quantile of its class that it is."""
    _, classes = np.unique(np.array(target.take(ids), object).astype(str), return_inverse=True)
    by_class = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    quantile = np.empty(len(ids))
    quantile[by_class] = (rank + 0.5) / np.repeat(counts, counts)
    return np.argsort(quantile, kind="stable")


def _fold(rows: int, how: Fold) -> tuple[int, int]:
    """Where the fold begins and ends among so many rows; the folds differ by a row at most."""
    return rows * how.fold // how.folds, rows * (how.fold + 1) // how.folds
