"""A trained model's preprocessor on a data set it was not made from: columns found, every value checked beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from service.data.columns import is_number
from service.data.dataset import Column, Dataset
from service.data.encoders import ArrayFeature, CategoryFeature, Codes, Flat, NumberFeature, Whole, canonical
from service.data.layout import FloatType
from service.data.packed import unpack
from service.data.place import MOST_FAULTS, pointer, refusal, row_words, shown
from service.data.prepare import PIECE_NUMBERS, Part, category_codes, category_slots, complete, encode_target
from service.data.preprocessor import Preprocessor
from service.data.spec import DatasetSpec
from service.data.split import Ids, split_rows
from service.data.statistics import Floats
from service.data.targets import BinaryTarget, ClassTarget
from service.data.whole_rows import fits
from service.errors import Fault, InvalidData, did_you_mean
from service.tensors import Array

PIECE_ROWS = 8192
PartName = Literal["all", "train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Applied:
    """x and y of a data set's rows, by their numbers. A row that cannot be has been refused before."""

    dataset: Dataset
    preprocessor: Preprocessor
    rows: _FlatRows | _WholeRows

    def x(self, ids: Ids) -> Array:
        """(rows, *shape) of the rows `ids`."""
        return self.rows.x(ids)

    def pieces(self, ids: Ids | None = None) -> Iterator[Ids]:
        """The rows (all by default) in pieces of at most a few megabytes."""
        every = np.arange(self.dataset.rows) if ids is None else ids
        step = min(PIECE_ROWS, piece_rows(self.preprocessor.shape))
        for start in range(0, len(every), step):
            yield every[start : start + step]

    def learnable(self) -> Ids:
        """The rows in which no target is missing. Raises InvalidData when there is no column of that name."""
        target, columns = self.preprocessor.target, self.dataset.columns
        names = (target.column,) if isinstance(target, ClassTarget | BinaryTarget) else target.columns
        faults = [_absent(name, self.dataset) for name in names if name not in columns]
        if not faults and not isinstance(target, ClassTarget | BinaryTarget):
            faults = [_wrong_type(name, columns[name], "numbers") for name in names if _is_words(columns[name])]
        if faults:
            raise refusal(faults)
        return complete(self.dataset, names)

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
        if isinstance(self.preprocessor.target, ClassTarget | BinaryTarget):
            known = y.reshape(-1) >= 0
            ids, y = ids[known], y[known]
        return Part(self.x(ids), y, ids)


def apply(dataset: Dataset, preprocessor: Preprocessor) -> Applied:
    """Raises InvalidData when a column is missing or holds what the model cannot take, naming row and column."""
    encoder = preprocessor.encoder
    if isinstance(encoder, Whole):
        return Applied(dataset, preprocessor, _whole(dataset, encoder))
    found = _named(dataset, [feature.name for feature in encoder.features])
    missing = [_absent(f.name, dataset) for f in encoder.features if f.name not in found.columns]
    if missing:
        raise refusal(missing)
    numbers, faults = list[Array](), list[Fault]()
    for feature in encoder.numbers:
        numbers.append(_numbers(found.columns[feature.name], feature, encoder.dtype, faults))
    for category in encoder.categories:
        _check_words(found.columns[category.name], category, faults)
    if faults:
        raise refusal(faults)
    lookups = [category_slots(found.columns[f.name], f, found.rows) for f in encoder.categories]
    return Applied(dataset, preprocessor, _FlatRows(encoder, numbers, lookups))


def piece_rows(shape: tuple[int, ...]) -> int:
    """How many rows of this shape are a few megabytes."""
    return max(1, PIECE_NUMBERS // max(1, int(np.prod(shape))))


def _named(dataset: Dataset, names: list[str]) -> Dataset:
    """The data set; when its columns were given no names, but are as many, they are the features in order."""
    nameless = all(name == f"column_{at + 1}" for at, name in enumerate(dataset.columns))
    if not nameless or len(names) != len(dataset.columns):
        return dataset
    return replace(dataset, columns=dict(zip(names, dataset.columns.values(), strict=True)))


def _absent(name: str, dataset: Dataset) -> Fault:
    hint = did_you_mean(name, list(dataset.columns)) or f"there are {', '.join(map(repr, list(dataset.columns)[:10]))}"
    return Fault(pointer("columns", name), "missing_column", f"there is no column {name!r}", hint)


def _is_words(column: Column) -> bool:
    return column.description.type in ("category", "text")


def _wrong_type(name: str, column: Column, expected: str) -> Fault:
    shape, kind = tuple(column.description.shape), column.description.type
    what = f"arrays of shape {shape}" if shape else {"number": "numbers", "category": "words"}.get(kind, kind)
    return Fault(pointer("columns", name), "wrong_type", f"column {name!r} holds {what}, expected {expected}")


def _fault(row: int, name: str, code: str, words: str, hint: str | None = None) -> Fault:
    return Fault(pointer("rows", row, name), code, f"{row_words(row)}, column {name!r}: {words}", hint)


# --- rows of several columns


@dataclass(frozen=True)
class _FlatRows:
    encoder: Flat
    numbers: list[Array]  # of each feature of numbers, (rows, how many)
    lookups: list[tuple[Codes, Array]]

    def x(self, ids: Ids) -> Array:
        parts = [values[ids].reshape(len(ids), -1).astype(np.float64) for values in self.numbers]
        numbers: Floats = np.concatenate(parts, 1) if parts else np.zeros((len(ids), 0))
        return self.encoder.assemble(numbers, category_codes(self.lookups, ids))


def _numbers(column: Column, feature: NumberFeature | ArrayFeature, dtype: str, faults: list[Fault]) -> Array:
    """The column's numbers, missing as NaN; what is none goes to `faults`."""
    shape = tuple(column.description.shape)
    if _is_words(column) and isinstance(feature, NumberFeature):
        values = _spelled(column, feature, faults)
    elif shape != feature.shape or _is_words(column):
        wanted = f"numbers of shape {feature.shape}" if feature.shape else "a number a row"
        faults.append(_wrong_type(feature.name, column, wanted))
        return np.zeros((0, 1))
    else:
        values = column.values
    _check_range(values, feature, dtype, faults)
    return values


def _spelled(column: Column, feature: NumberFeature, faults: list[Fault]) -> Array:
    """Numbers written as words. The words of a category are looked at once each."""
    if column.description.type == "text":
        count = 0 if column.offsets is None else len(column.offsets) - 1
        words, codes = tuple(map(str, column.take(range(count)))), np.arange(count)
    else:
        words, codes = column.words, column.values
    bare = [canonical(word) for word in words]
    wrong = np.array([word is not None and not is_number(word) for word in bare] + [False])
    for row in _first(wrong[codes]):
        hint = "leave it empty where the number is missing" if feature.fills else None
        faults.append(
            _fault(row, feature.name, "not_a_number", f"expected a number, got {shown(words[codes[row]])}", hint)
        )
    known = [np.nan if word is None or bad else float(word) for word, bad in zip(bare, wrong[:-1], strict=True)]
    found: Array = np.array([*known, np.nan])[codes]
    return found


def _check_range(values: Array, feature: NumberFeature | ArrayFeature, dtype: str, faults: list[Fault]) -> None:
    """Missing values are there only where they may be filled, and what is scaled stays finite."""
    if values.dtype.kind != "f":
        return
    flat = values.reshape(len(values), -1)
    absent = _any(np.isnan(flat))
    if not (isinstance(feature, NumberFeature) and feature.fills):
        faults += [_fault(row, feature.name, "missing_value", "expected a number, got none") for row in _first(absent)]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Floats = (flat - np.array(feature.mean)) / np.array(feature.deviation)
        large = _any(np.isinf(scaled.astype(dtype)))
    faults += [_fault(row, feature.name, "too_large", "a number is too large after scaling") for row in _first(large)]


def _any(wrong: Array) -> Array:
    return np.asarray(wrong.any(axis=1))


def _first(wrong: Array) -> list[int]:
    return list(np.flatnonzero(wrong)[:MOST_FAULTS].tolist())


def _check_words(column: Column, feature: CategoryFeature, faults: list[Fault]) -> None:
    if column.description.shape:
        faults.append(_wrong_type(feature.name, column, "words"))


# --- rows that are one array


@dataclass(frozen=True)
class _WholeRows:
    encoder: Whole
    columns: list[Column]  # the one, or one for each number of a row

    def x(self, ids: Ids) -> Array:
        if len(self.columns) > 1:
            return self.encoder.cast(np.stack([column.values[ids] for column in self.columns], 1))
        (column,) = self.columns
        if not _is_words(column):
            return self.encoder.cast(column.values[ids])
        return self.encoder.cast(np.stack([self._unpacked(int(row), column) for row in ids]))

    def _unpacked(self, row: int, column: Column) -> Array:
        (value,) = column.take([row])
        try:
            if value is None:
                raise InvalidData("nothing is there")
            found = unpack(str(value), self.encoder)
        except InvalidData as error:
            raise refusal([_fault(row, self.encoder.name, "not_readable", error.message, error.hint)]) from error
        if not fits(found, self.encoder.dtype):
            raise refusal([_fault(row, self.encoder.name, "out_of_range", "expected finite numbers")])
        return found


def _whole(dataset: Dataset, encoder: Whole) -> _WholeRows:
    rows = _WholeRows(encoder, _columns_of(dataset, encoder))
    step = piece_rows(encoder.raw)
    for start in range(0, dataset.rows, step):
        ids = np.arange(start, min(start + step, dataset.rows))
        if len(rows.columns) == 1 and _is_words(rows.columns[0]):
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
    shapes = {None if _is_words(each) else tuple(each.description.shape) for each in every}
    if (
        column is None
        and None not in shapes
        and len(shapes) == 1
        and (len(every), *(shapes.pop() or ())) in encoder.accepted
    ):
        return every
    if column is None:
        raise refusal([_absent(encoder.name, dataset)])
    packed = _is_words(column)
    if not packed and tuple(column.description.shape) not in encoder.accepted:
        raise refusal([_wrong_type(encoder.name, column, f"arrays of shape {encoder.raw}")])
    return [column]


def _check_values(values: Array, start: int, encoder: Whole) -> None:
    if fits(values, encoder.dtype):
        return
    wrong = [at for at, row in enumerate(values) if not fits(np.asarray(row), encoder.dtype)][:MOST_FAULTS]
    whole = {"uint8": "whole numbers from 0 to 255", "int32": "whole numbers below 2^31"}
    expected = f"expected {whole.get(encoder.dtype, 'finite numbers')}"
    raise refusal([_fault(start + at, encoder.name, "out_of_range", expected) for at in wrong])
