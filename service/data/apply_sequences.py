"""Rows that are sequences of any length, of a data set that a model was not made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.data.apply_whole import piece_rows
from service.data.dataset import Column, Dataset
from service.data.misfit import absent, fault, is_words, wrong_type
from service.data.place import MOST_FAULTS, refusal
from service.data.sequences import Sequences, cut
from service.data.split import Ids
from service.tensors import Array


@dataclass(frozen=True)
class SequenceRows:
    """All of them checked. `longest`: how many steps the longest has, of these or of the training's."""

    encoder: Sequences
    column: Column
    longest: int

    def whole(self, ids: Ids) -> Array:
        return np.ones(len(ids), bool)

    def x(self, ids: Ids) -> Array:
        """(rows,) objects, (its steps, *inner) each."""
        steps, lengths = self.column.steps(ids)
        return cut(self.encoder.cast(steps), lengths)


def sequences(dataset: Dataset, encoder: Sequences) -> SequenceRows:
    """Raises InvalidData when there is no such column, or a row holds what the model cannot take."""
    column = dataset.columns.get(encoder.name)
    if column is None and list(dataset.columns) == ["column_1"]:
        (column,) = dataset.columns.values()
    if column is None:
        raise refusal([absent(encoder.name, dataset)])
    shape = tuple(column.description.shape)
    if is_words(column) or not shape or shape[1:] != encoder.step:
        what = f"lists of {encoder.step[0]} numbers" if encoder.step else "numbers"
        raise refusal([wrong_type(encoder.name, column, f"sequences of {what}")])
    _check(dataset, column, encoder)
    return SequenceRows(encoder, column, max(encoder.longest, shape[0]))


def _check(dataset: Dataset, column: Column, encoder: Sequences) -> None:
    step = piece_rows(tuple(column.description.shape))
    for start in range(0, dataset.rows, step):
        steps, lengths = column.steps(range(start, min(start + step, dataset.rows)))
        if not encoder.takes(steps):
            wrong = [at for at, row in enumerate(cut(steps, lengths)) if not encoder.takes(row)][:MOST_FAULTS]
            words = f"expected {encoder.expected}"
            raise refusal([fault(start + at, encoder.name, "out_of_range", words) for at in wrong])
