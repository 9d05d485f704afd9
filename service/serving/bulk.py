"""Predictions of a whole data set, written piece by piece: as JSON lines or as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Literal

import numpy as np
from pydantic_core import to_json

from service.data import Applied, LabelsTarget
from service.serving.detail import Detail, answered
from service.serving.registry import RowModel
from service.tensors import Array

Ids = Array
BulkFormat = Literal["ndjson", "csv"]


def written(model: RowModel, applied: Applied, ids: Ids | None, detail: Detail, format: BulkFormat) -> Iterator[bytes]:
    """A line a row, in their order, with its number in the data set; of CSV the names first."""
    return _csv(model, applied, ids, detail) if format == "csv" else _lines(model, applied, ids, detail)


def _lines(model: RowModel, applied: Applied, ids: Ids | None, detail: Detail) -> Iterator[bytes]:
    for some in applied.pieces(ids):
        answers = answered(model, applied.x(some), detail)
        rows = ({"row": row, **answer} for row, answer in zip(some.tolist(), answers, strict=True))
        yield b"".join([to_json(row, inf_nan_mode="null") + b"\n" for row in rows])


def _csv(model: RowModel, applied: Applied, ids: Ids | None, detail: Detail) -> Iterator[bytes]:
    """row, label, probability and a column for each class's probability; or row and a column for each target.

    Of several labels row, those that are told with semicolons between them, and each one's probability.
    """
    names, classes, target = model.preprocessor.named, model.preprocessor.classes, model.preprocessor.target
    tables = [f"probability_{name}" for name in names] if detail.probabilities else []
    told = ["labels"] if isinstance(target, LabelsTarget) else ["label", "probability"]
    head = ["row", *names] if classes is None else ["row", *told, *tables]
    yield _text([head])
    for some in applied.pieces(ids):
        numbers = model.preprocessor.numbers(model.network(applied.x(some)))
        rows: list[list[object]] = [[row] for row in some.tolist()]
        if isinstance(target, LabelsTarget):
            for row, labels in zip(rows, target.labels(numbers), strict=True):
                row.append(";".join(labels))
        elif classes is not None:
            best = numbers.argmax(axis=1)
            chosen = numbers[np.arange(len(numbers)), best].tolist()
            for row, at, probability in zip(rows, best.tolist(), chosen, strict=True):
                row += [classes[at], probability]
        if classes is None or detail.probabilities:
            for row, values in zip(rows, numbers.tolist(), strict=True):
                row += values
        yield _text(rows)


def _text(rows: list[list[object]] | list[list[str]]) -> bytes:
    file = StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
