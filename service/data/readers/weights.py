"""Weights of a network in safetensors: kept as they are, under their own names, for a training to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service import tensors
from service.data.description import ColumnDescription, Description, Parsed
from service.data.source import Source, check_names, oversized, unusable
from service.errors import InvalidData

FILE_FORMAT = "netwright.weights/1"


def is_weights(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes begins like safetensors: the length of a header that is inside, then JSON."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def read_weights(sources: Sequence[Source], into: Path) -> Parsed:
    """Writes the file's arrays at `into`. Raises InvalidData when it is no safetensors file, or there are several."""
    source = sources[0]
    if len(sources) > 1 or source.packed:
        raise unusable("one_file", "weights are one safetensors file, not packed")
    try:
        arrays = tensors.read(source.path).arrays
    except InvalidData as error:
        raise unusable("bad_file", f"{source.name}: {error.message}") from error
    if len(arrays) > source.limits.columns:
        raise oversized(f"{source.name} holds more than {source.limits.columns:,} arrays")
    if not arrays:
        raise unusable("empty", f"{source.name} holds no array")
    check_names(arrays, source.name)
    columns = [_described(name, str(array.dtype), array.shape) for name, array in arrays.items()]
    try:
        sha256, size = tensors.write(into, arrays, {"format": FILE_FORMAT})
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    return Parsed(Description(kind="weights", rows=1, columns=columns, warnings=[]), sha256, size)


def _described(name: str, dtype: str, shape: tuple[int, ...]) -> ColumnDescription:
    return ColumnDescription(
        name=name, type="array", dtype=dtype, shape=list(shape), integer=False, missing=0, distinct=None, min=None,
        max=None, mean=None, std=None, top=[], classes=None,
    )  # fmt: skip
