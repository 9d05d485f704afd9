"""Usual requests of the Open Inference Protocol: rows of numbers in one tensor, in JSON or behind it. Others: None."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod
from struct import error, pack
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import from_json

from service.api.tensors import written
from service.serving import RowModel, Served, oip
from service.tensors import Array

_REQUEST = {"id", "model_name", "inputs", "outputs", "parameters"}
_INPUT = {"name", "shape", "datatype", "data", "parameters"}
_PACKED = {"FP32": None, "UINT8": "u1"}  # what is a float32 already, and what becomes the same number as one
_LONGEST = 1_000  # letters of a name
_MOST_ROWS = 100_000


class Tensor(NamedTuple):
    """What requests must have in common, beside the model, to share a pass and a form of answer."""

    model: str
    name: str
    width: int
    outputs: tuple[tuple[str, bool], ...]
    binary: bool


def read(model: str, json_bytes: int | None, body: bytes) -> tuple[Tensor, bytes, str | None] | None:
    """What a body asks, its rows as little-endian float32, and its id."""
    length = len(body) if json_bytes is None else json_bytes
    try:
        found = from_json(body[:length] if length < len(body) else body, allow_inf_nan=False)
        (given,), id_ = found["inputs"], found.get("id")
        shape, datatype, name = given["shape"], given["datatype"], given["name"]
        usual = found.keys() <= _REQUEST and given.keys() <= _INPUT and _short(name) and (id_ is None or _short(id_))
        rows, *axes = shape
        width = prod(axes)
        if not usual or {*map(type, shape)} != {int} or not (axes and 0 < rows <= _MOST_ROWS and min(axes) > 0):
            return None
        size = given.get("parameters", {}).get("binary_data_size")
        if size is None:
            plain = b"true" not in body and b"false" not in body
            data = _listed(given["data"], rows, width, plain) if length == len(body) and datatype == "FP32" else None
        else:
            whole = type(size) is int and size == len(body) - length and "data" not in given
            data = _packed(body[length:], datatype) if whole else None
        binary = _flag(found.get("parameters", {}), "binary_data_output", False)
        outputs = tuple(_output(each, binary) for each in found.get("outputs", ()))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError, error):
        return None
    if data is None or len(data) != 4 * rows * width:
        return None
    return Tensor(model, name, width, outputs, binary), data, id_


def _short(name: Any) -> bool:
    return type(name) is str and len(name) <= _LONGEST


def _listed(data: Any, rows: int, width: int, plain: bool) -> bytes | None:
    """Numbers of JSON, one after the other or row by row. `plain`: none of them is true or false."""
    if type(data[0]) is list:
        if {*map(type, data)} != {list} or {*map(len, data)} != {width}:
            return None
        data = [*chain(*data)]
    if len(data) != rows * width or not (plain or {*map(type, data)} <= {float, int}):
        return None
    return pack(f"<{len(data)}f", *data)


def _packed(data: bytes, datatype: str) -> bytes | None:
    kind = _PACKED[datatype]
    return data if kind is None else np.frombuffer(data, kind).astype("<f4").tobytes()


def _output(given: Any, otherwise: bool) -> tuple[str, bool]:
    """An output asked for by name, and whether as bytes. Raises KeyError when more is asked."""
    if not (given.keys() <= {"name", "parameters"} and _short(given["name"])):
        raise KeyError
    return given["name"], _flag(given.get("parameters", {}), "binary_data", otherwise)


def _flag(parameters: Any, name: str, otherwise: bool) -> bool:
    """The only parameter. Raises KeyError when there are others, or it is no flag."""
    found = parameters.get(name, otherwise)
    if not parameters.keys() <= {name} or type(found) is not bool:
        raise KeyError
    return bool(found)


def fits(asked: Tensor, model: RowModel) -> bool:
    """Whether such a tensor is the rows of the model, and the outputs are among its own."""
    names = {str(each["name"]) for each in model.preprocessor.features}
    known = {each.name for each in oip.outputs(model)}
    alone = len(names) == 1 or asked.name not in names
    return asked.width == model.preprocessor.width and alone and all(name in known for name, _ in asked.outputs)


def answered(
    asked: Tensor, served: Served, model: RowModel, y: Array, places: Sequence[slice | None], ids: Sequence[str]
) -> Iterator[tuple[bytes | None, int | None]]:
    """Of each request the body of the answer, and the bytes of its JSON when tensors stand behind it."""
    whole = oip.write(model, y, [name for name, _ in asked.outputs])
    flags = [binary for _, binary in asked.outputs] or [asked.binary] * len(whole)
    for at, id_ in zip(places, ids, strict=True):
        if at is None:
            yield None, None
            continue
        head = {"model_name": asked.model, "model_version": served.id.partition(":")[2], "id": id_}
        yield written(head, [(_cut(tensor, at), binary) for tensor, binary in zip(whole, flags, strict=True)])


def _cut(tensor: oip.Tensor, at: slice) -> oip.Tensor:
    """The rows of one request."""
    (_, *axes), size = tensor.kind.shape, prod(tensor.kind.shape[1:])
    kind = oip.Kind(tensor.kind.name, tensor.kind.datatype, (at.stop - at.start, *axes))
    return oip.Tensor(kind, tensor.values[at.start * size : at.stop * size])
