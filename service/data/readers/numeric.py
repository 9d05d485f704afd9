"""Turns arrays of numbers, piece by piece, into columns: one number a row, or one array a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from service.data.columns import Arrays, Numbers
from service.data.source import unusable
from service.data.spool import Spool
from service.tensors import Array


def numeric_column(spool: Spool, row: tuple[int, ...], pieces: Iterator[Array]) -> Numbers | Arrays:
    """A column of rows of shape `row`: () and (1,) are plain numbers."""
    if row in {(), (1,)}:
        numbers = Numbers(spool)
        for piece in pieces:
            numbers.add(piece.reshape(-1).astype(np.float64))
        return numbers
    arrays = Arrays(spool, row, native=True)
    for piece in pieces:
        arrays.add(piece.view(np.uint8) if piece.dtype == np.bool_ else piece)
    return arrays


def same_rows(rows: Mapping[str, int]) -> int:
    """The rows that all arrays have. Raises InvalidData when they differ, naming each."""
    if len(set(rows.values())) > 1:
        each = ", ".join(f"{name} {count:,}" for name, count in list(rows.items())[:10])
        hint = "arrays of one data set share their first axis; upload a test part as a data set of its own"
        raise unusable("rows_differ", f"the arrays differ in rows: {each}", hint)
    count = next(iter(rows.values()), 0)
    if not count:
        raise unusable("no_rows", "there are no rows")
    return count
