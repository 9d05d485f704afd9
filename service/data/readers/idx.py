"""Reads IDX, the format of MNIST: a few bytes of type and shape, then the numbers, greatest byte first.

Format: Y. LeCun, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.data.readers import Read
from service.data.readers.numeric import numeric_column, same_rows
from service.data.source import Source, unusable
from service.data.spool import Spool
from service.tensors import Array

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAMES = {1: "label", 3: "image", 4: "image"}
_MOST_AXES = 8


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return 4 + 4 * len(self.shape)


def read_idx(sources: Sequence[Source], spool: Spool) -> Read:
    """Each file is a column: `image` of three axes or more, `label` of one, else called as the file."""
    headers = [_header(source) for source in sources]
    names = [_NAMES.get(len(header.shape), source.stem) for header, source in zip(headers, sources, strict=True)]
    if len(set(names)) < len(names):
        names = [source.stem for source in sources]
    rows = same_rows(dict(zip(names, (header.shape[0] for header in headers), strict=True)))
    columns = [
        numeric_column(spool, header.shape[1:], _pieces(source, header)).finish(name)
        for name, source, header in zip(names, sources, headers, strict=True)
    ]
    return rows, columns, []


def is_idx(head: bytes) -> bool:
    """Whether a file that begins so is IDX."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 0 < head[3] <= _MOST_AXES


def _header(source: Source) -> _Header:
    head = source.head(4 + 4 * _MOST_AXES)
    if not is_idx(head) or len(head) < 4 + 4 * head[3]:
        raise unusable("not_idx", f"{source.name} has no IDX header")
    shape = tuple(np.frombuffer(head, ">u4", head[3], 4).tolist())
    dtype = np.dtype(_TYPES[head[2]])
    promised = math.prod(shape) * dtype.itemsize
    if 0 in shape or promised > source.most_bytes:
        raise unusable("lying_header", f"{source.name} claims shape {shape}, which its bytes cannot hold")
    return _Header(dtype, shape)


def _pieces(source: Source, header: _Header) -> Iterator[Array]:
    row = math.prod(header.shape[1:]) * header.dtype.itemsize
    left, rest, skip = header.shape[0] * row, b"", header.bytes
    for block in source.blocks():
        data, skip = rest + block[skip:], max(0, skip - len(block))
        whole = min(len(data) // row * row, left)
        left, rest = left - whole, data[whole:]
        if whole:
            piece = np.frombuffer(data, header.dtype, whole // header.dtype.itemsize).reshape(-1, *header.shape[1:])
            yield piece.astype(header.dtype.newbyteorder("="), copy=False)
    if left or rest:
        what = "fewer" if left else "more"
        raise unusable("lying_header", f"{source.name} claims shape {header.shape} but holds {what} bytes")
