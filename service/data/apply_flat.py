"""Rows of several columns, of a data set that a model was not made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from service.data.columns import is_number
from service.data.dataset import Column, Dataset
from service.data.dates import DateFeature
from service.data.encoders import ArrayFeature, Codes, Flat, NumberFeature, canonical
from service.data.misfit import absent, fault, first, is_words, wrong_type
from service.data.place import refusal, shown
from service.data.prepare import category_codes, category_slots
from service.data.split import Ids
from service.data.statistics import Floats
from service.data.wishes import date_hint, seconds
from service.errors import Fault
from service.tensors import Array

_Numbers = NumberFeature | ArrayFeature | DateFeature


def flat(dataset: Dataset, encoder: Flat, leave_out: bool) -> FlatRows:
    """Every value checked. Raises InvalidData with the first faults."""
    found = _named(dataset, [feature.name for feature in encoder.features])
    missing = [absent(f.name, dataset) for f in encoder.features if f.name not in found.columns]
    if missing:
        raise refusal(missing)
    numbers, faults = list[Array](), list[Fault]()
    for feature in encoder.numbers:
        numbers.append(_numbers(found.columns[feature.name], feature, encoder.dtype, faults, leave_out))
    for category in encoder.categories:
        if found.columns[category.name].description.shape:
            faults.append(wrong_type(category.name, found.columns[category.name], "words"))
    if faults:
        raise refusal(faults)
    lookups = [category_slots(found.columns[f.name], f, found.rows) for f in encoder.categories]
    for category, (_, codes) in zip(encoder.categories, lookups, strict=True):
        if category.drops and not leave_out:
            faults += [
                fault(row, category.name, "missing_value", "expected a word, got none") for row in first(codes < 0)
            ]
    if faults:
        raise refusal(faults)
    return FlatRows(encoder, numbers, lookups)


def _named(dataset: Dataset, names: list[str]) -> Dataset:
    """The data set; when its columns were given no names, but are as many, they are the features in order."""
    nameless = all(name == f"column_{at + 1}" for at, name in enumerate(dataset.columns))
    if not nameless or len(names) != len(dataset.columns):
        return dataset
    return replace(dataset, columns=dict(zip(names, dataset.columns.values(), strict=True)))


@dataclass(frozen=True)
class FlatRows:
    encoder: Flat
    numbers: list[Array]  # of each feature of numbers, (rows, how many)
    lookups: list[tuple[Codes, Array]]

    def whole(self, ids: Ids) -> Array:
        """(len(ids),) whether nothing is missing that rows were dropped for."""
        found = np.ones(len(ids), bool)
        for feature, values in zip(self.encoder.numbers, self.numbers, strict=True):
            if not isinstance(feature, ArrayFeature) and feature.drops:
                found &= ~np.isnan(values[ids])
        for category, (_, codes) in zip(self.encoder.categories, self.lookups, strict=True):
            if category.drops:
                found &= codes[ids] >= 0
        return found

    def x(self, ids: Ids) -> Array:
        parts = [values[ids].reshape(len(ids), prod(values.shape[1:])).astype(np.float64) for values in self.numbers]
        numbers: Floats = np.concatenate(parts, 1) if parts else np.zeros((len(ids), 0))
        return self.encoder.assemble(numbers, category_codes(self.lookups, ids))


def _numbers(column: Column, feature: _Numbers, dtype: str, faults: list[Fault], leave_out: bool) -> Array:
    """The column's numbers, missing as NaN; what is none goes to `faults`."""
    shape = tuple(column.description.shape)
    if is_words(column) and not isinstance(feature, ArrayFeature):
        values = _spelled(column, feature, faults)
    elif shape != feature.shape or is_words(column):
        wanted = f"numbers of shape {feature.shape}" if feature.shape else "a number a row"
        faults.append(wrong_type(feature.name, column, wanted))
        return np.zeros((0, 1))
    else:
        values = column.values
    _check_range(values, feature, dtype, faults, leave_out)
    return values


def _spelled(column: Column, feature: NumberFeature | DateFeature, faults: list[Fault]) -> Array:
    """Numbers written as words. The words of a category are looked at once each."""
    if column.description.type == "text":
        count = 0 if column.offsets is None else len(column.offsets) - 1
        words, codes = tuple(map(str, column.take(range(count)))), np.arange(count)
    else:
        words, codes = column.words, column.values
    bare = [canonical(word) for word in words]
    if isinstance(feature, DateFeature):
        bare = [None if word is None else _as_seconds(word) for word in bare]
    wrong = np.array([word is not None and not is_number(word) for word in bare] + [False])
    for row in first(wrong[codes]):
        hint = date_hint(words[codes[row]], feature.name) if isinstance(feature, NumberFeature) else None
        hint = hint or ("leave it empty where the number is missing" if feature.fills else None)
        what = "date" if isinstance(feature, DateFeature) else "number"
        faults.append(
            fault(row, feature.name, f"not_a_{what}", f"expected a {what}, got {shown(words[codes[row]])}", hint)
        )
    known = [np.nan if word is None or bad else float(word) for word, bad in zip(bare, wrong[:-1], strict=True)]
    found: Array = np.array([*known, np.nan])[codes]
    return found


def _as_seconds(word: str) -> str:
    """A date as a word for its seconds; what is none stays as it is."""
    try:
        return repr(seconds(word))
    except ValueError:
        return word


def _check_range(values: Array, feature: _Numbers, dtype: str, faults: list[Fault], leave_out: bool) -> None:
    """Missing values are there only where they may be filled, and what is scaled stays finite."""
    if values.dtype.kind != "f" and not isinstance(feature, DateFeature):
        return
    flat = values.reshape(len(values), -1)
    missing = _any(np.isnan(flat))
    if isinstance(feature, ArrayFeature) or not (feature.fills or (feature.drops and leave_out)):
        faults += [fault(row, feature.name, "missing_value", "expected a number, got none") for row in first(missing)]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Floats = (
            feature.spread(flat[:, 0].astype(np.float64))
            if isinstance(feature, DateFeature)
            else (flat - np.array(feature.mean)) / np.array(feature.deviation)
        )
        large = _any(np.isinf(scaled.astype(dtype)))
    faults += [fault(row, feature.name, "too_large", "a number is too large after scaling") for row in first(large)]


def _any(wrong: Array) -> Array:
    return np.asarray(wrong.any(axis=1))
