"""Finds, in the training part alone, what scaling and encoding need to know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from service.data.dataset import Column, Dataset, side_by_side
from service.data.dates import PLAIN, DateFeature, DateParts, columns
from service.data.encoders import ArrayFeature, CategoryFeature, Feature, Flat, NumberFeature, Whole, canonical
from service.data.layout import MOST_CATEGORIES, Layout, Slot
from service.data.missing import Constant, Drop, OwnCategory, Policy, drops, indicated, number_for
from service.data.names import target_names
from service.data.outline import Outline
from service.data.preprocessor import Encoder
from service.data.sequences import Sequences, abreast
from service.data.split import Ids
from service.data.statistics import Floats, Moments
from service.data.targets import BinaryTarget, ClassTarget, DistributionTarget, LabelsTarget, NumberTarget, Target
from service.tensors import Array

PIECE_NUMBERS = 1 << 21
EIGHT_BITS = 127  # bytes that never pass it have a range of their own: 0 to 16, 0 and 1


def fit_encoder(dataset: Dataset, outline: Outline, ids: Ids, preprocess: str) -> Encoder:
    """Scaling and encoding of the features, by the rows `ids`."""
    layout, raw = outline.layout, preprocess == "none"
    if layout.timed:
        return _sequences([dataset.columns[slot.column.name] for slot in layout.slots], layout, ids, raw)
    if layout.whole:
        return _whole(dataset, outline, ids, raw)
    features = [_feature(dataset.columns[slot.column.name], slot, ids, raw) for slot in layout.slots]
    return Flat(tuple(features), layout.shape[0], layout.dtype)


def _sequences(columns: Sequence[Column], layout: Layout, ids: Ids, raw: bool) -> Sequences:
    """Each number of a step scaled by itself, over all steps there are: padding is none."""
    described = [column.description for column in columns]
    names, steps = tuple(each.name for each in described), tuple(tuple(each.shape[1:]) for each in described)
    size = sum(map(math.prod, steps))
    mean, deviation = ((0.0,) * size, (1.0,) * size) if raw else _scales(_step_pieces(columns, layout, ids), size)
    rate = described[0].samples_per_s if len(described) == 1 else None
    return Sequences(names, steps, mean, deviation, layout.shape[0], layout.dtype, layout.vocabulary, rate)


def _step_pieces(columns: Sequence[Column], layout: Layout, ids: Ids) -> Iterator[Floats]:
    """All steps of the rows `ids` as float64, those of a few rows at a time."""
    few = max(1, PIECE_NUMBERS // math.prod(layout.shape))
    for start in range(0, len(ids), few):
        yield abreast(side_by_side(columns, ids[start : start + few])[0]).astype(np.float64)


def _whole(dataset: Dataset, outline: Outline, ids: Ids, raw: bool) -> Whole:
    layout, column = outline.layout, dataset.columns[outline.layout.slots[0].column.name]
    scale, offset = (1.0, 0.0) if raw else _range(column, ids)
    described = column.description
    return Whole(
        described.name,
        described.type,
        tuple(described.shape),
        layout.shape,
        layout.dtype,
        layout.vocabulary,
        scale,
        offset,
        bool(described.resized),
        described.samples_per_s,
    )


def _range(column: Column, ids: Ids) -> tuple[float, float]:
    """(scale, offset): bytes to 0..1; other numbers to mean 0 and deviation 1 over all of them."""
    if column.description.dtype == "uint8":
        greatest = column.description.max or 0.0
        return 1.0 / (255.0 if greatest > EIGHT_BITS else max(1.0, greatest)), 0.0
    moments = Moments()
    for piece in _pieces(column.values, ids):
        moments.add(piece.reshape(-1))
    deviation = _usable(moments.std, moments.least, moments.greatest)
    return 1.0 / deviation, -moments.mean / deviation


def _pieces(values: Array, ids: Ids) -> Iterator[Floats]:
    """The rows `ids` as float64, a few at a time."""
    step = max(1, PIECE_NUMBERS // max(1, math.prod(values.shape[1:])))
    return (values[ids[start : start + step]].astype(np.float64) for start in range(0, len(ids), step))


def _usable(deviation: float | None, least: float, greatest: float) -> float:
    """A number to divide by: 1 for a column that never changes."""
    return deviation if deviation and least != greatest else 1.0


def _feature(column: Column, slot: Slot, ids: Ids, raw: bool) -> Feature:
    if column.description.type == "category":
        return _category(column, slot, ids)
    if column.description.shape:
        mean, deviation = _elements(column, ids, raw)
        return ArrayFeature(slot.column.name, slot.start, mean, deviation, tuple(slot.column.shape))
    values, dropped = column.values[ids], drops(slot.missing)
    fill = None if raw else number_for(slot.missing, values)
    indicator = slot.start + slot.width - 1 if indicated(slot.missing) and np.isnan(values).any() else None
    if slot.date is not None:
        return _date(slot, slot.date, values, fill, indicator)
    center, spread = (0.0, 1.0) if raw else number_scale(values)
    fills = not (raw or dropped)
    return NumberFeature(slot.column.name, slot.start, center, spread, indicator, fills, fill, dropped)


def _date(slot: Slot, how: DateParts, values: Array, fill: float | None, indicator: int | None) -> DateFeature:
    parts, dropped = tuple(how.parts), drops(slot.missing)
    spread = columns(values[~np.isnan(values)].astype(np.float64), parts, how.encoding)
    plain = [True] * how.width if how.encoding == "number" else [
        part in PLAIN for part in parts for _ in range(1 if part in PLAIN else 2)
    ]  # fmt: skip
    scales = [number_scale(each) if own else (0.0, 1.0) for each, own in zip(spread.T, plain, strict=True)]
    mean, deviation = zip(*scales, strict=True)
    return DateFeature(
        slot.column.name, slot.start, parts, how.encoding, mean, deviation, fill, indicator, not dropped, dropped
    )


def number_scale(values: Array) -> tuple[float, float]:
    """(mean, deviation) of the values that are not missing; (0, 1) when there are none."""
    moments = Moments()
    moments.add(values.astype(np.float64))
    if not moments.count:
        return 0.0, 1.0
    mean = moments.least if moments.least == moments.greatest else moments.mean  # without the sum's rounding
    return mean, _usable(moments.std, moments.least, moments.greatest)


def _elements(column: Column, ids: Ids, raw: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, deviation) of each number of a row's array; bytes have one range for all."""
    size = math.prod(column.description.shape)
    if raw or column.description.dtype == "uint8":
        scale = 1.0 if raw else _range(column, ids)[0]
        return (0.0,) * size, (1.0 / scale,) * size
    return _scales(_pieces(column.values, ids), size)


def _scales(pieces: Iterator[Floats], size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same of rows of so many numbers, a few rows at a time."""
    count, mean, squares = 0, np.zeros(size), np.zeros(size)
    for piece in pieces:
        flat = piece.reshape(len(piece), size)
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused when it is scaled
            center, total = flat.mean(axis=0), count + len(flat)
            squares += np.square(flat - center).sum(axis=0) + np.square(center - mean) * (count * len(flat) / total)
            mean, count = mean + (center - mean) * (len(flat) / total), total
    deviation = np.sqrt(squares / count)
    changes = (deviation > np.abs(mean) * 1e-12) & np.isfinite(deviation)  # beyond rounding
    return tuple(mean.tolist()), tuple(np.where(changes, deviation, 1.0).tolist())


def _category(column: Column, slot: Slot, ids: Ids) -> CategoryFeature:
    """One slot for each word that training has, the most frequent ones when there are too many."""
    codes, found = column.values[ids], Counter[str | None]()
    for word, count in zip(column.words, np.bincount(codes[codes >= 0], minlength=len(column.words)), strict=True):
        found[canonical(word)] += int(count)
    found[None] += int((codes < 0).sum())
    seen = [word for word, count in found.items() if word is not None and count]
    kept = seen
    if len(seen) > MOST_CATEGORIES:
        most = set(sorted(seen, key=lambda word: -found[word])[:MOST_CATEGORIES])
        kept = [word for word in seen if word in most]
    other = slot.start + MOST_CATEGORIES if len(seen) > len(kept) else None
    own = slot.start + slot.width - 1 if found[None] and column.description.missing else None
    feature = CategoryFeature(column.description.name, slot.start, tuple(kept), other, own, drops(slot.missing))
    return _filled(feature, slot.missing, found)


def _filled(feature: CategoryFeature, policy: Policy | None, found: Mapping[str | None, int]) -> CategoryFeature:
    """With the slot of the word that stands for a missing one, in place of a slot for none."""
    if policy is None or isinstance(policy, OwnCategory):
        return feature
    if isinstance(policy, Drop):
        return replace(feature, missing=None)
    word = max(feature.words, key=lambda each: found[each], default=None)
    if isinstance(policy, Constant):
        word = canonical(str(policy.value))
        if word not in feature.slots and feature.other is None and feature.missing is not None and word is not None:
            feature = replace(feature, words=(*feature.words, word))
    return replace(feature, missing=None if word is None else feature.slots.get(word, feature.other))


def fit_target(dataset: Dataset, outline: Outline, ids: Ids, preprocess: str, warnings: list[str]) -> Target:
    """The target, its scaling found in the rows `ids`."""
    names = outline.spec.targets or []
    if outline.target == "binary" and _are_labels(columns := [dataset.columns[name] for name in names]):
        return _labels(columns, outline, ids, warnings)
    if outline.target in {"class", "binary"}:
        target = ClassTarget(names[0], outline.classes or ())
        seen = set(np.unique(target.codes(dataset.columns[names[0]], ids)).tolist())
        absent = [word for code, word in enumerate(target.classes) if code not in seen]
        if absent:
            warnings.append(f"classes without a row in the training part: {', '.join(absent[:10])}")
        return target if outline.target == "class" else BinaryTarget(names[0], (target.classes[0], target.classes[1]))
    if outline.target == "distribution":
        return DistributionTarget(tuple(names), outline.classes or ())
    columns = [dataset.columns[name] for name in names]
    scales = [one for column in columns for one in _target_scales(column, ids, preprocess == "none")]
    described = target_names([column.description for column in columns])
    return NumberTarget(tuple(names), described, tuple(s[0] for s in scales), tuple(s[1] for s in scales))


def _are_labels(columns: Sequence[Column]) -> bool:
    return len(columns) > 1 or bool(columns[0].description.shape)


def _labels(columns: Sequence[Column], outline: Outline, ids: Ids, warnings: list[str]) -> LabelsTarget:
    words = [(told[0], told[1]) for column in columns if (told := column.description.classes)]
    target = LabelsTarget(tuple(outline.spec.targets or ()), outline.classes or (), tuple(words))
    alike = (y := target.codes(columns, ids)).min(axis=0) == y.max(axis=0)
    if alike.any():
        same = [name for name, is_alike in zip(target.classes, alike.tolist(), strict=True) if is_alike]
        warnings.append(f"labels that are the same in every row of the training part: {', '.join(same[:10])}")
    return target


def _target_scales(column: Column, ids: Ids, raw: bool) -> list[tuple[float, float]]:
    if column.description.shape:
        return list(zip(*_elements(column, ids, raw), strict=True))
    return [(0.0, 1.0) if raw else number_scale(column.values[ids])]
