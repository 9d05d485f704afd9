"""A text cut into the parts that train, validate and test a language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.data.dataset import Column, Dataset
from service.data.place import shown
from service.data.spec import DatasetSpec, Reference
from service.data.split import fractions, part_sizes
from service.errors import Fault, InvalidSpec, did_you_mean
from service.tensors import Array


@dataclass(frozen=True)
class TextParts:
    """UTF-8, whole lines; one line is one sentence. `warnings`: of parts that were asked for and have no line."""

    train: memoryview
    validation: memoryview | None
    test: memoryview | None
    warnings: tuple[str, ...] = ()


def text_parts(
    dataset: Dataset, spec: DatasetSpec, *, validation: Dataset | None = None, test: Dataset | None = None
) -> TextParts:
    """The parts of a text, cut from its end at line ends, in order: training, validation, test.

    A table gives its text column (`column`, or the only one of words), a row a line. Raises InvalidSpec.
    """
    for part, other in ((spec.validation, validation), (spec.test, test)):
        if isinstance(part, Reference) != (other is not None):
            raise ValueError("a referred data set must be handed over, and only that")
    data, offsets = _lines(dataset, spec)
    lines = len(offsets) - 1
    train, held, last = part_sizes(lines, *fractions(spec))
    if train < 1:
        raise _refused("/dataset", "no_rows", "no line is left to train on", "take smaller validation and test parts")

    def cut(start: int, end: int) -> memoryview:
        return data[int(offsets[start]) : int(offsets[end])]

    return TextParts(
        cut(0, train),
        _lines(validation, spec)[0] if validation else cut(train, train + held) if held else None,
        _lines(test, spec)[0] if test else cut(train + held, lines) if last else None,
        tuple(
            f"the {name} part has no text, and no scores: parts are whole lines, and there are too few"
            for name, share, count in zip(("validation", "test"), fractions(spec), (held, last), strict=True)
            if share and not count
        ),
    )


def _lines(dataset: Dataset, spec: DatasetSpec) -> tuple[memoryview, Array]:
    """(bytes, where each line begins and the last ends)."""
    if dataset.description.kind == "text":
        column = next(iter(dataset.columns.values()))
        if column.offsets is not None:
            return dataset.text(), column.offsets
    column = _column(dataset, spec)
    rows = column.take(range(dataset.rows))
    lines = [" ".join(str(row or "").splitlines()).encode() + b"\n" for row in rows]
    offsets = np.cumsum([0, *map(len, lines)], dtype=np.int64)
    return memoryview(b"".join(lines)), offsets


def _column(dataset: Dataset, spec: DatasetSpec) -> Column:
    words = [name for name, column in dataset.columns.items() if column.description.type in {"text", "category"}]
    texts = [name for name in words if dataset.columns[name].description.type == "text"]
    if spec.column is not None:
        if spec.column in words:
            return dataset.columns[spec.column]
        hint = did_you_mean(spec.column, words) or f"columns of words: {', '.join(words[:10]) or 'none'}"
        raise _refused("/dataset/column", "unknown_column", f"no column of words {shown(spec.column)}", hint)
    only = texts if len(texts) == 1 else words
    if len(only) != 1:
        hint = f'name one in "column": {", ".join(words[:10])}' if words else "upload a text"
        raise _refused("/dataset/column", "no_text", f"the data set has {len(only)} columns of words", hint)
    return dataset.columns[only[0]]


def _refused(place: str, code: str, message: str, hint: str) -> InvalidSpec:
    return InvalidSpec(message, hint=hint, faults=[Fault(place, code, message, hint)])
