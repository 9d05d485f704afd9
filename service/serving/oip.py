"""Models in the words of the Open Inference Protocol: named tensors in, named tensors out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from service.errors import Fault, InvalidData
from service.serving.predict import answers
from service.serving.registry import RowModel
from service.tensors import Array

BYTES = "BYTES"
DATATYPES = {
    "BOOL": "|b1", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "|i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_NAMES = {"uint8": "UINT8", "int32": "INT32", "float64": "FP64"}
ROWS, PROBABILITIES, LABEL, VALUES = "rows", "probabilities", "label", "values"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a tensor is. shape: -1 stands for any number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor at hand. values: flat, an array, or words where the datatype is BYTES."""

    kind: Kind
    values: Array | list[str]


def inputs(model: RowModel) -> list[Kind]:
    """What the model takes: one tensor where a row is numbers alone, else a tensor for each column."""
    preprocessor = model.preprocessor
    features: list[dict[str, Any]] = preprocessor.features
    if preprocessor.width is not None and len(features) > 1:
        return [Kind(ROWS, "FP32", (-1, preprocessor.width))]
    alike = preprocessor.width is not None or preprocessor.steps is not None
    whole = _NAMES.get(preprocessor.dtype, "FP32") if alike else "FP32"
    datatypes = [BYTES if each["type"] in ("category", "date") else whole for each in features]
    shapes = [tuple(each["shape"]) or (1,) for each in features]
    return [Kind(e["name"], d, (-1, *s)) for e, d, s in zip(features, datatypes, shapes, strict=True)]


def outputs(model: RowModel) -> list[Kind]:
    """What it answers: a probability for each class and the likeliest one, or a value for each target."""
    width = len(model.preprocessor.named)
    if model.preprocessor.classes is None:
        return [Kind(VALUES, "FP32", (-1, width))]
    probabilities = Kind(PROBABILITIES, "FP32", (-1, width))
    return [probabilities, Kind(LABEL, BYTES, (-1, 1))] if model.preprocessor.one_of else [probabilities]


def read(model: RowModel, given: Sequence[Tensor]) -> Array:
    """x of the tensors of a request. Raises InvalidData, pointers from /inputs/..."""
    names = {str(each["name"]) for each in model.preprocessor.features}
    if not given:
        raise _misfit("/inputs", f"expected {_words(inputs(model))}, got none")
    if (
        model.preprocessor.width is not None
        and len(given) == 1
        and (len(names) == 1 or given[0].kind.name not in names)
    ):
        return _rows(model, given[0])
    return model.preprocessor.rows(_columns(model, given, names), "")


def _rows(model: RowModel, tensor: Tensor) -> Array:
    width, shape = model.preprocessor.width, tensor.kind.shape
    if isinstance(tensor.values, list):
        raise _misfit("/inputs/0/datatype", f"expected numbers, got {BYTES}")
    if len(shape) < 2 or prod(shape[1:]) != width or not shape[0]:
        (kind,) = inputs(model)
        raise _misfit("/inputs/0/shape", f"expected rows of shape {list(kind.shape)}, got {list(shape)}")
    values = tensor.values.view(np.uint8) if tensor.values.dtype.kind == "b" else tensor.values
    return model.preprocessor.array(values.reshape(-1, width), "/inputs/0")


def _columns(model: RowModel, given: Sequence[Tensor], names: Collection[str]) -> list[dict[str, Any]]:
    """Rows of columns; a number that is NaN is missing."""
    counts = {each.kind.shape[0] if each.kind.shape else 0 for each in given}
    if len(counts) != 1 or not all(counts):
        raise _misfit("/inputs", f"expected as many rows in every column, at least one; got {sorted(counts)}")
    columns: dict[str, list[Any]] = {}
    for at, each in enumerate(given):
        name, shape = each.kind.name, each.kind.shape
        if name in columns or name not in names:
            raise _misfit(f"/inputs/{at}/name", f"{name[:80]!r} is not expected; expected {_words(inputs(model))}")
        flat = each.values if isinstance(each.values, list) else _numbers(each.values)
        single = prod(shape[1:]) == 1 and model.preprocessor.steps is None
        columns[name] = flat if single else np.array(flat, object).reshape(shape).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _numbers(values: Array) -> list[Any]:
    found: list[Any] = values.tolist()
    return [None if each != each else each for each in found] if values.dtype.kind == "f" else found


def write(model: RowModel, y: Array, wanted: Sequence[str]) -> list[Tensor]:
    """The named outputs; all when none is named. Raises InvalidData for an unknown name."""
    kinds = {each.name: each for each in outputs(model)}
    for at, name in enumerate(wanted):
        if name not in kinds:
            raise _misfit(f"/outputs/{at}/name", f"no output {name[:80]!r}; there are {_words(list(kinds.values()))}")
    rows = len(y)
    return [
        Tensor(Kind(name, kinds[name].datatype, (rows, *kinds[name].shape[1:])), _output(model, y, name))
        for name in (wanted or kinds)
    ]


def _output(model: RowModel, y: Array, name: str) -> Array | list[str]:
    if name == LABEL:
        return [str(each["label"]) for each in answers(model, y, 1)]
    return model.preprocessor.numbers(y).astype("<f4", copy=False).reshape(-1)


def classified(model: RowModel, tensor: Tensor, count: int) -> Tensor:
    """The `count` largest numbers of each row, as Triton's classification extension writes them: value:index:name."""
    assert not isinstance(tensor.values, list)
    table = tensor.values.reshape(tensor.kind.shape)
    order = np.argsort(-table, axis=1, kind="stable")[:, :count]
    named = model.preprocessor.named
    words = [f"{row[at]:f}:{at}:{named[at]}" for row, best in zip(table, order.tolist(), strict=True) for at in best]
    return Tensor(Kind(tensor.kind.name, BYTES, order.shape), words)


def _words(kinds: Sequence[Kind]) -> str:
    shown = [f"{each.name} {each.datatype} {list(each.shape)}" for each in kinds[:8]]
    return ", ".join([*shown, "..."] if len(kinds) > len(shown) else shown)


def _misfit(pointer: str, words: str) -> InvalidData:
    return InvalidData(words, faults=[Fault(pointer, "wrong_tensor", words)])
