"""Rows that are one array each, of a data set that a model was not made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.data.dataset import Column, Dataset
from service.data.encoders import Whole
from service.data.misfit import absent, fault, is_words, wrong_type
from service.data.packed import unpack
from service.data.place import MOST_FAULTS, refusal
from service.data.prepare import PIECE_NUMBERS
from service.data.split import Ids
from service.data.whole_rows import expected, takes
from service.errors import InvalidData
from service.tensors import Array


def piece_rows(shape: tuple[int, ...]) -> int:
    """How many rows of this shape are a few megabytes."""
    return max(1, PIECE_NUMBERS // max(1, int(np.prod(shape))))


@dataclass(frozen=True)
class WholeRows:
    encoder: Whole
    columns: list[Column]  # the one, or one for each number of a row

    def whole(self, ids: Ids) -> Array:
        return np.ones(len(ids), bool)

    def x(self, ids: Ids) -> Array:
        if len(self.columns) > 1:
            return self.encoder.cast(np.stack([column.values[ids] for column in self.columns], 1))
        (column,) = self.columns
        if not is_words(column):
            return self.encoder.cast(column.values[ids])
        return self.encoder.cast(np.stack([self._unpacked(int(row), column) for row in ids]))

    def _unpacked(self, row: int, column: Column) -> Array:
        (value,) = column.take([row])
        try:
            if value is None:
                raise InvalidData("nothing is there")
            found = unpack(str(value), self.encoder)
        except InvalidData as error:
            raise refusal([fault(row, self.encoder.name, "not_readable", error.message, error.hint)]) from error
        if not takes(found, self.encoder):
            raise refusal([fault(row, self.encoder.name, "out_of_range", expected(self.encoder))])
        return found


def whole(dataset: Dataset, encoder: Whole) -> WholeRows:
    rows = WholeRows(encoder, _columns_of(dataset, encoder))
    step = piece_rows(encoder.raw)
    for start in range(0, dataset.rows, step):
        ids = np.arange(start, min(start + step, dataset.rows))
        if len(rows.columns) == 1 and is_words(rows.columns[0]):
            rows.x(ids)
            continue
        for column in rows.columns:
            _check_values(column.values[ids], start, encoder)
    return rows


def _columns_of(dataset: Dataset, encoder: Whole) -> list[Column]:
    """The column of that name; else the only one, or columns that are a row's array when put side by side."""
    column = dataset.columns.get(encoder.name)
    every = list(dataset.columns.values())
    if column is None and list(dataset.columns) == ["column_1"]:
        (column,) = every
    shapes = {None if is_words(each) else tuple(each.description.shape) for each in every}
    if (
        column is None
        and None not in shapes
        and len(shapes) == 1
        and (len(every), *(shapes.pop() or ())) in encoder.accepted
    ):
        return every
    if column is None:
        raise refusal([absent(encoder.name, dataset)])
    packed = is_words(column)
    if not packed and tuple(column.description.shape) not in encoder.accepted:
        raise refusal([wrong_type(encoder.name, column, f"arrays of shape {encoder.raw}")])
    return [column]


def _check_values(values: Array, start: int, encoder: Whole) -> None:
    if takes(values, encoder):
        return
    wrong = [at for at, row in enumerate(values) if not takes(np.asarray(row), encoder)][:MOST_FAULTS]
    raise refusal([fault(start + at, encoder.name, "out_of_range", expected(encoder)) for at in wrong])
