"""The one file format of every artifact: safetensors, written once, read by memory map.

Layout (huggingface/safetensors, format 1): eight bytes of little-endian header length, a JSON header
`{name: {dtype, shape, data_offsets}, "__metadata__": {string: string}}`, then the bytes of the arrays.
Why not the safetensors package: it copies when it reads into NumPy; see docs/decisions/0003.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidData

Array = NDArray[Any]
MAX_HEADER_BYTES = 100_000_000
_ALIGNMENT = 64
_NAMES: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_DTYPES = {np.dtype(code): name for name, code in _NAMES.items()}


@dataclass(frozen=True)
class Tensors:
    """A file read by memory map: `arrays` are read-only views of its pages, `metadata` its strings."""

    arrays: dict[str, Array]
    metadata: dict[str, str]


def pieces(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The file's bytes, piece by piece; the arrays' own memory is not copied when it is contiguous."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    arrays = dict(sorted(arrays.items(), key=lambda each: -each[1].dtype.itemsize))  # keeps each aligned
    offset = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _DTYPES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for array in arrays.values():
        flat = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        yield flat.reshape(-1).view(np.uint8).data


def write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> tuple[str, int]:
    """Writes and fsyncs the file; returns its sha256 and its size in bytes. Naming it durably is the caller's."""
    digest, size = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for piece in pieces(arrays, metadata):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def read(path: Path) -> Tensors:
    """Maps the file. Raises InvalidData when its header lies about what follows."""
    size = path.stat().st_size
    if size < 8:
        raise InvalidData("not a safetensors file: shorter than its header")
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _parse(memoryview(mapped), size)


def parse(data: bytes) -> Tensors:
    """The same for bytes at hand. Raises InvalidData."""
    return _parse(memoryview(data), len(data))


def _parse(data: memoryview, size: int) -> Tensors:
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise InvalidData("not a safetensors file: its header is longer than the file")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        metadata = {str(name): str(value) for name, value in header.pop("__metadata__", {}).items()}
        body = data[8 + length :]
        arrays = {str(name): _view(body, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidData(f"not a safetensors file: {error}") from error
    return Tensors(arrays, metadata)


def _view(body: memoryview, entry: dict[str, Any]) -> Array:
    dtype = np.dtype(_NAMES[entry["dtype"]])
    shape = tuple(int(n) for n in entry["shape"])
    start, end = (int(n) for n in entry["data_offsets"])
    if min(shape, default=0) < 0 or not 0 <= start <= end <= len(body):
        raise ValueError("an array lies outside the file")
    if math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError("an array's shape does not fit its bytes")
    return np.frombuffer(body[start:end], dtype).reshape(shape)
