"""Rows that are sequences of any length, of a data set that a model was not made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.data.apply_whole import piece_rows
from service.data.dataset import Column, Dataset, side_by_side
from service.data.misfit import absent, fault, is_words, wrong_type
from service.data.place import MOST_FAULTS, refusal
from service.data.sequences import Sequences, abreast, cut
from service.data.split import Ids
from service.tensors import Array


@dataclass(frozen=True)
class SequenceRows:
    """All of them checked. `longest`: how many steps the longest has, of these or of the training's."""

    encoder: Sequences
    columns: list[Column]
    longest: int

    def whole(self, ids: Ids) -> Array:
        return np.ones(len(ids), bool)

    def x(self, ids: Ids) -> Array:
        """(rows,) objects, (its steps, *inner) each."""
        steps, lengths = side_by_side(self.columns, ids)
        return cut(self.encoder.cast(abreast(steps)), lengths)


def sequences(dataset: Dataset, encoder: Sequences) -> SequenceRows:
    """Raises InvalidData when a column is not there, or a row holds what the model cannot take."""
    found = dict(dataset.columns)
    if len(encoder.names) == 1 and list(found) == ["column_1"]:
        found = {encoder.names[0]: found["column_1"]}
    faults = [absent(name, dataset) for name in encoder.names if name not in found]
    if faults:
        raise refusal(faults)
    columns = [found[name] for name in encoder.names]
    for name, step, column in zip(encoder.names, encoder.steps, columns, strict=True):
        shape = tuple(column.description.shape)
        if is_words(column) or not shape or shape[1:] != step:
            faults.append(
                wrong_type(name, column, f"sequences of {f'lists of {step[0]} numbers' if step else 'numbers'}")
            )
    if faults:
        raise refusal(faults)
    _check(dataset, columns, encoder)
    return SequenceRows(encoder, columns, max(encoder.longest, columns[0].description.shape[0]))


def _check(dataset: Dataset, columns: list[Column], encoder: Sequences) -> None:
    few = piece_rows((columns[0].description.shape[0], len(encoder.mean)))
    for start in range(0, dataset.rows, few):
        parts, lengths = side_by_side(columns, range(start, min(start + few, dataset.rows)))
        steps = abreast(parts)
        if not encoder.takes(steps):
            wrong = [at for at, row in enumerate(cut(steps, lengths)) if not encoder.takes(row)][:MOST_FAULTS]
            words = f"expected {encoder.expected}"
            raise refusal([fault(start + at, encoder.names[0], "out_of_range", words) for at in wrong])
