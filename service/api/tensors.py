"""Bodies of the Open Inference Protocol: JSON, with tensors in it or as bytes behind it (the binary extension)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.requests import Request

from service.api.bodies import BodyReader, check_json, document, media_type, validate
from service.api.problems import InvalidJson
from service.api.replies import encode
from service.errors import Fault, InvalidData, InvalidSpec
from service.serving import oip
from service.tensors import Array

LENGTH_HEADER = "Inference-Header-Content-Length"
RAW_TYPE = "application/octet-stream"
_MOST_TENSORS, _MOST_AXES, _WORD_BYTES = 10_000, 32, 4


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class InputTensor(_Part):
    """A tensor sent: `data` in row-major order, or `parameters.binary_data_size` bytes behind the JSON."""

    name: Annotated[str, Field(max_length=1_000)]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1 << 40)]], Field(max_length=_MOST_AXES)]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class WantedOutput(_Part):
    """An output asked for. Parameters: `binary_data`, `classification` (how many)."""

    name: Annotated[str, Field(max_length=1_000)]
    parameters: dict[str, Any] = {}


class InferenceRequest(_Part):
    """Rows as tensors. Parameters: `binary_data_output` asks for bytes wherever an output does not say otherwise."""

    id: Annotated[str, Field(max_length=1_000)] | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=_MOST_TENSORS)]
    outputs: Annotated[list[WantedOutput], Field(max_length=100)] = []


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read."""

    request: InferenceRequest
    tensors: list[oip.Tensor]


class TensorBody(BodyReader):
    """The dependency that reads such a body."""

    adapter: TypeAdapter[Any] = TypeAdapter(InferenceRequest)
    others = (RAW_TYPE,)

    async def __call__(self, request: Request) -> Asked:
        if media_type(request) != RAW_TYPE:
            check_json(request)
        return asked(await request.body(), request.headers.get(LENGTH_HEADER))


def asked(body: bytes, header_length: str | None) -> Asked:
    """What a body says. Raises InvalidJson, InvalidSpec, InvalidData."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isdecimal() and len(header_length) < 20 and 0 < int(header_length) <= length):
            raise InvalidJson(f"{LENGTH_HEADER} must be the bytes of JSON, from 1 to {length} here")
        length = int(header_length)
    request: InferenceRequest = validate(TensorBody.adapter, document(body[:length], keys=False))
    tensors, at = [], length
    for place, each in enumerate(request.inputs):
        size = each.parameters.get("binary_data_size")
        pointer = f"/inputs/{place}"
        if size is not None and not (type(size) is int and 0 <= size <= len(body) - at):
            raise _misfit(f"{pointer}/parameters/binary_data_size", f"{size!r:.40} bytes, {len(body) - at} are left")
        tensors.append(_tensor(each, pointer, None if size is None else body[at : at + size]))
        at += size or 0
    if at != len(body):
        raise InvalidData(f"{len(body) - at} bytes behind the tensors are nobody's")
    return Asked(request, tensors)


def _tensor(given: InputTensor, pointer: str, data: bytes | None) -> oip.Tensor:
    kind = oip.Kind(given.name, given.datatype, tuple(given.shape))
    if given.datatype != oip.BYTES and given.datatype not in oip.DATATYPES:
        allowed = (*oip.DATATYPES, oip.BYTES)
        fault = Fault(f"{pointer}/datatype", "unknown_datatype", f"no datatype {given.datatype[:40]!r}", None, allowed)
        raise InvalidSpec(fault.message, faults=[fault])
    try:
        values = _listed(kind, given.data) if data is None else _unpacked(kind, data)
    except (ValueError, OverflowError) as error:
        raise _misfit(f"{pointer}/data", str(error)) from error
    if len(values) != prod(kind.shape):
        raise _misfit(f"{pointer}/shape", f"{list(kind.shape)} is not the shape of {len(values):,} values")
    return oip.Tensor(kind, values)


def _listed(kind: oip.Kind, data: Any) -> Array | list[str]:
    """The values in JSON, flattened. Raises ValueError."""
    flat = data if isinstance(data, list) else [data]
    while flat and isinstance(flat[0], list):
        if not all(isinstance(each, list) for each in flat):
            raise ValueError("lists beside values")
        flat = [value for each in flat for value in each]
    kinds = set(map(type, flat))
    if kind.datatype == oip.BYTES:
        if not kinds <= {str}:
            raise ValueError("expected strings")
        return flat
    dtype = np.dtype(oip.DATATYPES[kind.datatype])
    if not kinds <= ({bool} if dtype.kind == "b" else {int} if dtype.kind in "iu" else {int, float}):
        raise ValueError(f"expected values of {kind.datatype}")
    with np.errstate(over="ignore"):  # infinite then, and refused with its place
        return np.array(flat, dtype)


def _unpacked(kind: oip.Kind, data: bytes) -> Array | list[str]:
    """The values as bytes, each word behind its length. Raises ValueError."""
    if kind.datatype != oip.BYTES:
        return np.frombuffer(data, oip.DATATYPES[kind.datatype])
    words, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + _WORD_BYTES], "little")
        at += _WORD_BYTES + size
        if at > len(data):
            raise ValueError("a word is longer than what is left")
        words.append(data[at - size : at].decode())
    return words


def written(head: dict[str, Any], outputs: Sequence[tuple[oip.Tensor, bool]]) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON when bytes follow. `outputs`: each, and whether as bytes."""
    listed, packed = [], []
    for tensor, binary in outputs:
        kind = tensor.kind
        told: dict[str, Any] = {"name": kind.name, "datatype": kind.datatype, "shape": list(kind.shape)}
        if binary:
            packed.append(_packed(tensor))
            told["parameters"] = {"binary_data_size": len(packed[-1])}
        else:
            told["data"] = tensor.values if isinstance(tensor.values, list) else tensor.values.tolist()
        listed.append(told)
    text = encode({**head, "outputs": listed})
    return (b"".join([text, *packed]), len(text)) if packed else (text, None)


def _packed(tensor: oip.Tensor) -> bytes:
    if not isinstance(tensor.values, list):
        return tensor.values.tobytes()
    words = [word.encode() for word in tensor.values]
    return b"".join(part for word in words for part in (len(word).to_bytes(_WORD_BYTES, "little"), word))


def _misfit(pointer: str, words: str) -> InvalidData:
    return InvalidData(words, faults=[Fault(pointer, "wrong_tensor", words)])
