"""Which rows train, validate and test: decided by the seed and the row's number, on every machine the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def part_sizes(rows: int, validation: float, test: float) -> tuple[int, int, int]:
    """(training, validation, test) rows; each fraction is rounded to whole rows."""
    test_rows, validation_rows = round(rows * test), round(rows * validation)
    return rows - validation_rows - test_rows, validation_rows, test_rows


def split(ids: Ids, validation: float, test: float, seed: int) -> tuple[Ids, Ids, Ids]:
    """(training, validation, test) ids, each in the file's order.

    Rows are ranked by splitmix64 (Steele, Lea and Flood, 2014) of row and seed; test takes the first ranks,
    validation the next.
    """
    _, validation_rows, test_rows = part_sizes(len(ids), validation, test)
    if not validation_rows + test_rows:
        return ids, ids[:0], ids[:0]
    order = np.argsort(splitmix64(ids.astype(np.uint64) ^ splitmix64(np.array([seed], np.uint64))), kind="stable")
    ends = [test_rows, test_rows + validation_rows]
    test_ids, validation_ids, train_ids = (np.sort(ids[part]) for part in np.split(order, ends))
    return train_ids, validation_ids, test_ids


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number's hash: the generator's first output with it as the seed."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
