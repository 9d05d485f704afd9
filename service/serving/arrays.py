"""Rows as bytes of numbers, without a name or a comma between them, and predictions the same way."""

from __future__ import annotations

from io import BytesIO
from math import prod

import numpy as np
from numpy.lib import format as npy

from service.errors import Fault, InvalidData
from service.serving.registry import RowModel
from service.tensors import Array

NPY_TYPE = "application/x-npy"
_MAGIC = b"\x93NUMPY"
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def from_raw(model: RowModel, data: bytes) -> Array:
    """x of little-endian float32 numbers, row after row. Raises InvalidData."""
    width = model.preprocessor.width
    if model.preprocessor.steps is not None:
        raise _misfit(
            "rows of any length cannot be told apart in bytes", f"Send JSON, or rows of one length as {NPY_TYPE}."
        )
    if width is None:
        return model.preprocessor.array(np.zeros((0, 0), np.float32))  # which says why it cannot be
    row_bytes = 4 * width
    if not data or len(data) % row_bytes:
        hint = f"A .npy file is sent as {NPY_TYPE}." if data.startswith(_MAGIC) else None
        raise _misfit(f"expected rows of {width} float32, {row_bytes} bytes each; got {len(data)} bytes", hint)
    return model.preprocessor.array(np.frombuffer(data, "<f4").reshape(-1, width))


def from_npy(model: RowModel, data: bytes) -> Array:
    """x of an array in NumPy's own format, which is a view of the bytes: nothing is unpickled, nothing allocated."""
    file = BytesIO(data)
    try:
        shape, fortran, dtype = _READERS[npy.read_magic(file)](file)
    except (ValueError, KeyError) as error:
        raise _misfit("not an array in the .npy format of version 1 or 2") from error
    size = prod(shape) * dtype.itemsize
    whole = bool(shape) and all(type(n) is int and n > 0 for n in shape)
    if dtype.kind not in "iuf" or not whole or size != len(data) - file.tell():
        raise _misfit(f"expected an array of numbers, a row each; got {dtype} of shape {shape} in {len(data)} bytes")
    flat = np.frombuffer(data, dtype, offset=file.tell())
    x = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return model.preprocessor.array(x)


def from_file(model: RowModel, data: bytes) -> Array:
    """x of one file: a picture (PNG, JPEG) or a sound (WAV). Raises InvalidData."""
    return model.preprocessor.rows([data])


def to_raw(model: RowModel, y: Array) -> bytes:
    """Little-endian float32: a class's probability or a target's value each, in the order of `preprocessor.named`."""
    return model.preprocessor.numbers(y).astype("<f4", copy=False).tobytes()


def to_npy(model: RowModel, y: Array) -> bytes:
    """The same as an array of shape (rows, named)."""
    file = BytesIO()
    npy.write_array(file, model.preprocessor.numbers(y).astype("<f4", copy=False), allow_pickle=False)
    return file.getvalue()


def _misfit(words: str, hint: str | None = None) -> InvalidData:
    return InvalidData(words, hint=hint, faults=[Fault("", "wrong_length", words, hint)])
