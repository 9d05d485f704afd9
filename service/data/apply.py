"""A trained model's preprocessor on a data set it was not made from: columns found, every value checked beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.data.apply_flat import FlatRows, flat
from service.data.apply_sequences import SequenceRows, sequences
from service.data.apply_whole import WholeRows, piece_rows, whole
from service.data.dataset import Dataset
from service.data.encoders import Whole
from service.data.layout import FloatType
from service.data.misfit import absent, is_words, wrong_type
from service.data.place import refusal
from service.data.prepare import Part, complete, encode_sequences, encode_target
from service.data.preprocessor import Preprocessor
from service.data.sequences import Sequences
from service.data.spec import DatasetSpec
from service.data.split import Ids, split_rows
from service.data.targets import BinaryTarget, ClassTarget, LabelsTarget
from service.tensors import Array

PIECE_ROWS = 8192
PartName = Literal["all", "train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Applied:
    """x and y of a data set's rows, by their numbers. A row that cannot be has been refused before."""

    dataset: Dataset
    preprocessor: Preprocessor
    rows: FlatRows | WholeRows | SequenceRows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row of x in a part: with as many steps as the longest row has."""
        shape = self.preprocessor.shape
        return (self.rows.longest, *shape[1:]) if isinstance(self.rows, SequenceRows) else shape

    def x(self, ids: Ids) -> Array:
        """(rows, *shape) of the rows `ids`; of sequences (rows,) objects, which a prediction takes."""
        return self.rows.x(ids)

    def pieces(self, ids: Ids | None = None) -> Iterator[Ids]:
        """The rows (all by default) in pieces of at most a few megabytes."""
        every = np.arange(self.dataset.rows) if ids is None else ids
        step = min(PIECE_ROWS, piece_rows(self.shape))
        for start in range(0, len(every), step):
            yield every[start : start + step]

    def learnable(self) -> Ids:
        """The rows in which no target is missing. Raises InvalidData when there is no column of that name."""
        target, columns = self.preprocessor.target, self.dataset.columns
        names = (target.column,) if isinstance(target, ClassTarget | BinaryTarget) else target.columns
        faults = [absent(name, self.dataset) for name in names if name not in columns]
        if not faults and not isinstance(target, ClassTarget | BinaryTarget | LabelsTarget):
            faults = [wrong_type(name, columns[name], "numbers") for name in names if is_words(columns[name])]
        if faults:
            raise refusal(faults)
        ids = complete(self.dataset, names)
        return ids[self.rows.whole(ids)]

    def held(self, spec: DatasetSpec, part: PartName) -> Ids:
        """The learnable rows of a part, split as a training with this spec splits them; of the whole for "all"."""
        every = self.learnable()
        if part == "all":
            return every
        return dict(zip(PARTS, split_rows(self.dataset, spec, every), strict=True))[part]

    def part(self, ids: Ids) -> Part:
        """x and y of rows whose targets are there; those whose class the model does not know are left out."""
        dtype: FloatType = "float64" if self.preprocessor.dtype == "float64" else "float32"
        y = encode_target(self.dataset, self.preprocessor.target, ids, dtype)
        if isinstance(self.preprocessor.target, ClassTarget | BinaryTarget | LabelsTarget):
            known = y.reshape(len(y), -1).min(axis=1, initial=0) >= 0
            ids, y = ids[known], y[known]
        if isinstance(self.rows, SequenceRows):
            x, lengths = encode_sequences(self.rows.columns, self.rows.encoder, ids, self.rows.longest)
            return Part(x, y, ids, lengths)
        return Part(self.x(ids), y, ids)


def apply(dataset: Dataset, preprocessor: Preprocessor, *, leave_out: bool = False) -> Applied:
    """Raises InvalidData when a column is missing or holds what the model cannot take, naming row and column.

    `leave_out`: rows without a value that training dropped rows for are none of the `learnable`, instead of a fault.
    """
    encoder = preprocessor.encoder
    if isinstance(encoder, Sequences):
        return Applied(dataset, preprocessor, sequences(dataset, encoder))
    rows = whole(dataset, encoder) if isinstance(encoder, Whole) else flat(dataset, encoder, leave_out)
    return Applied(dataset, preprocessor, rows)
