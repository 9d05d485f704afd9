"""Splits a data set, finds scaling and encoding in its training part, and turns rows into x and y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from service.data.columns import number_text
from service.data.dataset import Column, Dataset, side_by_side
from service.data.encoders import CategoryFeature, Codes, Flat, Whole
from service.data.fit import fit_encoder, fit_target
from service.data.goal import TOLERANCE, TargetKind
from service.data.layout import FloatType
from service.data.letters import Letters
from service.data.missing import drops
from service.data.outline import Outline, outline
from service.data.place import pointer, refusal, row_words
from service.data.preprocessor import Preprocessor
from service.data.sequences import Sequences, abreast, padded
from service.data.spec import DatasetSpec, Reference
from service.data.split import Ids, split_rows
from service.data.statistics import Floats
from service.data.steps import Lengths
from service.data.targets import BinaryTarget, ClassTarget, DistributionTarget, LabelsTarget, NumberTarget, Target
from service.errors import Fault, InvalidSpec
from service.tensors import Array

PIECE_NUMBERS = 1 << 21


@dataclass(frozen=True)
class Part:
    """Rows ready for a network. x: (rows, *shape); y: (rows,) or (rows, k); rows: their numbers in their data set.

    `lengths`: how many steps of each row of x are no padding, when they are sequences.
    """

    x: Array
    y: Array
    rows: Ids
    lengths: Lengths | None = None


@dataclass(frozen=True)
class Prepared:
    """The parts of a data set, and all that turns further rows into the same."""

    outline: Outline
    preprocessor: Preprocessor | Letters
    train: Part
    validation: Part | None
    test: Part | None
    warnings: tuple[str, ...]

    @property
    def table(self) -> Preprocessor:
        """The preprocessor of rows with columns. Raises TypeError when the rows are a text's."""
        if isinstance(self.preprocessor, Letters):
            raise TypeError("a text has no columns")
        return self.preprocessor

    @property
    def scale(self) -> float:
        """What the network sees is x * scale + offset."""
        return self.preprocessor.scale

    @property
    def offset(self) -> float:
        """What the network sees is x * scale + offset."""
        return self.preprocessor.offset


def prepare(
    dataset: Dataset,
    spec: DatasetSpec,
    target: TargetKind,
    *,
    dtype: FloatType = "float32",
    validation: Dataset | None = None,
    test: Dataset | None = None,
) -> Prepared:
    """The parts as the spec asks; `validation` and `test` are the data sets it refers to, if it does.

    Raises InvalidSpec or InvalidData with all faults, their pointers from /dataset on.
    """
    for part, other in ((spec.validation, validation), (spec.test, test)):
        if isinstance(part, Reference) != (other is not None):
            raise ValueError("a referred data set must be handed over, and only that")
    described = [None if other is None else other.description for other in (validation, test)]
    found = outline(dataset.description, spec, target, dtype=dtype, validation=described[0], test=described[1])
    warnings = list(found.warnings)
    names = [*(found.spec.targets or []), *(s.column.name for s in found.layout.slots if drops(s.missing))]
    ids = complete(dataset, names)
    train, validation_ids, test_ids = split_rows(dataset, found.spec, ids)
    if not len(train):
        fault = Fault("/dataset", "no_rows", "no row is left to train on")
        raise InvalidSpec(fault.message, faults=[fault])
    encoder = fit_encoder(dataset, found, train, spec.preprocess)
    goal = fit_target(dataset, found, train, spec.preprocess, warnings)
    preprocessor = Preprocessor(encoder, goal, frozenset(dataset.columns))
    parts = _Parts(preprocessor, dtype, warnings)
    held = _other(parts, validation, names, "validation") or parts.some(dataset, validation_ids)
    last = _other(parts, test, names, "test") or parts.some(dataset, test_ids)
    return Prepared(found, preprocessor, parts.part(dataset, train, ""), held, last, tuple(warnings))


def _other(parts: _Parts, dataset: Dataset | None, names: Sequence[str], called: str) -> Part | None:
    return parts.part(dataset, complete(dataset, names), called) if dataset else None


def complete(dataset: Dataset, names: Sequence[str]) -> Ids:
    """The rows in which no target is missing."""
    present = np.ones(dataset.rows, bool)
    for name in names:
        column = dataset.columns[name]
        if column.description.type == "number":
            present &= ~np.isnan(column.values)
        elif column.description.type == "category":
            present &= column.values >= 0
    return np.flatnonzero(present)


@dataclass(frozen=True)
class _Parts:
    """Turns rows by number into parts."""

    preprocessor: Preprocessor
    dtype: FloatType
    warnings: list[str]

    def some(self, dataset: Dataset, ids: Ids) -> Part | None:
        """A part of the data set itself; None without rows."""
        return self.part(dataset, ids, "") if len(ids) else None

    def part(self, dataset: Dataset, ids: Ids, called: str) -> Part:
        """The rows `ids`; rows of a separate data set whose class is unknown are left out."""
        y = encode_target(dataset, self.preprocessor.target, ids, self.dtype)
        if isinstance(self.preprocessor.target, ClassTarget | BinaryTarget | LabelsTarget):
            known = y.reshape(len(y), -1).min(axis=1, initial=0) >= 0
            if not known.all():
                words = (
                    f"{int((~known).sum()):,} rows of the {called} data set have classes that training does not know"
                )
                self.warnings.append(f"{words}; they are left out")
                ids, y = ids[known], y[known]
        encoder = self.preprocessor.encoder
        if isinstance(encoder, Sequences):
            columns = [dataset.columns[name] for name in encoder.names]
            x, lengths = encode_sequences(columns, encoder, ids, encoder.longest)
            return Part(x, y, ids, lengths)
        return Part(encode_rows(dataset, encoder, ids), y, ids)


def encode_sequences(columns: Sequence[Column], encoder: Sequences, ids: Ids, longest: int) -> tuple[Array, Lengths]:
    """(x of the rows `ids`, padded to `longest` steps; how many steps each has), of sequences or arrays."""
    x = np.zeros((len(ids), longest, *encoder.inner), encoder.dtype)
    lengths = np.zeros(len(ids), np.int64)
    step = max(1, PIECE_NUMBERS // prod(x.shape[1:]))
    for start in range(0, len(ids), step):
        some = slice(start, start + step)
        steps, lengths[some] = side_by_side(columns, ids[some])
        x[some] = padded(encoder.cast(abreast(steps)), lengths[some], longest)
        _check_finite(x[some], ids, start)
    return x, lengths


def encode_rows(dataset: Dataset, encoder: Flat | Whole, ids: Ids) -> Array:
    """x of the rows `ids`: a view of the file's pages when it is all of them as they are, else a copy."""
    if isinstance(encoder, Whole):
        values = dataset.columns[encoder.name].values
        x = encoder.cast(values if len(ids) == len(values) else values[ids])
        _check_finite(x, ids, 0)
        return x
    x = np.empty((len(ids), encoder.width), encoder.dtype)
    lookups = [category_slots(dataset.columns[feature.name], feature, dataset.rows) for feature in encoder.categories]
    columns = [dataset.columns[feature.name] for feature in encoder.numbers]
    step = max(1, PIECE_NUMBERS // max(1, encoder.width))
    for start in range(0, len(ids), step):
        some = ids[start : start + step]
        x[start : start + step] = encoder.assemble(_numbers(columns, some), category_codes(lookups, some))
        _check_finite(x[start : start + step], ids, start)
    return x


def _check_finite(x: Array, ids: Ids, start: int) -> None:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        at = int(np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))[0])
        row = int(ids[start + at])
        message = f"{row_words(row)} holds a number too large for {x.dtype} after scaling"
        hint = 'ask for "dtype": "float64"' if x.dtype == np.float32 else "divide the column by a constant"
        raise refusal([Fault("/dataset", "too_large", message, hint)])


def _numbers(columns: list[Column], ids: Ids) -> Floats:
    picked = [column.values[ids] for column in columns]
    parts = [each.reshape(len(ids), prod(each.shape[1:])).astype(np.float64) for each in picked]
    return np.concatenate(parts, 1) if parts else np.zeros((len(ids), 0))


def category_slots(column: Column, feature: CategoryFeature, rows: int) -> tuple[Codes, Array]:
    """(slot by code, codes by row) of a category, whatever the column of this data set was read as."""
    if column.description.type == "category":
        words, codes = column.words, column.values
    else:
        values = [number_text(v) if isinstance(v, int | float) else v for v in column.take(range(rows))]
        words = tuple(dict.fromkeys(str(value) for value in values if value))
        places = {word: at for at, word in enumerate(words)}
        codes = np.array([places[str(value)] if value else -1 for value in values], np.intp)
    slots = [feature.slot(word) for word in words]
    return np.array([*slots, feature.absent], np.intp), codes


def category_codes(lookups: list[tuple[Codes, Array]], ids: Ids) -> Codes:
    parts = [table[codes[ids]] for table, codes in lookups]
    return np.stack(parts, 1) if parts else np.zeros((len(ids), 0), np.intp)


def encode_target(dataset: Dataset, target: Target, ids: Ids, dtype: FloatType) -> Array:
    """y of the rows `ids`; a class that is not known is negative."""
    if isinstance(target, ClassTarget):
        return target.codes(dataset.columns[target.column], ids)
    if isinstance(target, BinaryTarget):
        codes = ClassTarget(target.column, target.classes).codes(dataset.columns[target.column], ids)
        return codes.astype(dtype)[:, None]
    if isinstance(target, LabelsTarget):
        return target.codes([dataset.columns[name] for name in target.columns], ids).astype(dtype)
    values = _numbers([dataset.columns[name] for name in target.columns], ids)
    if isinstance(target, NumberTarget):
        y = target.encode(values, dtype)
        _check_finite(y, ids, 0)
        return y
    _check_distribution(values, target, ids)
    return values.astype(dtype)


def _check_distribution(values: Floats, target: DistributionTarget, ids: Ids) -> None:
    wrong = (values < 0).any(axis=1) | (np.abs(values.sum(axis=1) - 1.0) > TOLERANCE)
    if wrong.any():
        row = int(ids[np.flatnonzero(wrong)[0]])
        message = f"{row_words(row)}: the columns {', '.join(target.columns)} are not probabilities that sum to 1"
        raise refusal([Fault(pointer("dataset", "target"), "not_a_distribution", message)])
