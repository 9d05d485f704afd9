"""How the values of each column lie, looked up when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from service.data.dataset import Column, Dataset
from service.tensors import Array

MOST_COLUMNS, MOST_VALUES = 200, 2_000_000
MOST_EXACT = 2.0**52  # up to here a half lies between any two whole numbers


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bin between `edges`, or by word; `rows` were looked at."""

    edges: list[float] | None
    values: list[str] | None
    counts: list[int]
    other: int
    missing: int
    rows: int


def histograms(dataset: Dataset, bins: int) -> dict[str, Histogram]:
    """By column: of numbers (dates are seconds) and pixels `bins` of one width, of words the `bins` most frequent."""
    names = list(dataset.columns)[:MOST_COLUMNS]
    found = {name: _histogram(dataset.columns[name], dataset.rows, bins) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def _histogram(column: Column, rows: int, bins: int) -> Histogram | None:
    if column.description.type == "text":
        return None
    size = max(1, int(np.prod(column.values.shape[1:])))
    step = max(1, -(-len(column.values) * size // MOST_VALUES))
    values = np.asarray(column.values[::step])
    if column.description.type == "category":
        return _of_words(column, values, bins)
    found = _of_numbers(values.reshape(len(values), -1), bins)
    return (
        found if column.offsets is None else replace(found, rows=-(-rows // step))
    )  # of sequences every so many steps


def _of_words(column: Column, codes: Array, most: int) -> Histogram:
    counts = np.bincount(codes[codes >= 0], minlength=len(column.words))
    order = np.argsort(-counts, kind="stable")[:most]
    there = [int(at) for at in order if counts[at]]
    told = counts[there].tolist() if there else []
    missing = int((codes < 0).sum())
    return Histogram(None, [column.words[at] for at in there], told, int(counts.sum()) - sum(told), missing, len(codes))


def _of_numbers(values: Array, bins: int) -> Histogram:
    flat = values.reshape(-1).astype(np.float64)
    there = flat[np.isfinite(flat)]
    missing = len(flat) - len(there)
    if not len(there):
        return Histogram([], None, [], 0, missing, len(values))
    edges = _edges(there, bins)
    counts, _ = np.histogram(there, edges)
    return Histogram(edges.tolist(), None, counts.tolist(), 0, missing, len(values))


def _edges(x: Array, bins: int) -> Array:
    """A bin for each of few whole numbers, else bins of one width: fewer, where floats lie too far apart for all."""
    least, greatest = float(x.min()), float(x.max())
    if greatest - least < bins and max(-least, greatest) < MOST_EXACT and bool((x == np.floor(x)).all()):
        return np.asarray(np.arange(least, greatest + 2) - 0.5)
    if least == greatest:
        least, greatest = least - 0.5, greatest + 0.5
    span = np.linspace(least, greatest, bins + 1) if np.isfinite(greatest - least) else np.array([least, greatest])
    edges = np.unique(span)
    return edges if len(edges) > 1 else np.array([least, greatest])
