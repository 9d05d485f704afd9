"""Cuts plain blocks of a large CSV with pyarrow, where it is installed: the same columns, or none at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.columns import MISSING
from service.data.statistics import Floats

if TYPE_CHECKING:
    import pyarrow as pa

LARGE_BYTES = 4_000_000  # a smaller file is read sooner than pyarrow is imported
_NEWLINE = 10
_FIELD_BYTES = 1 << 17  # what Python's csv takes in a field


@cache
def _library() -> Any:
    """pyarrow with its parts csv and compute; None where it is not installed."""
    try:
        import pyarrow.compute  # noqa: PLC0415 - an extra
        import pyarrow.csv  # noqa: PLC0415
    except ImportError:
        return None
    return pyarrow


def cut(block: bytes, delimiter: str, are_numbers: Sequence[bool]) -> list[pa.Array] | None:
    """Whole lines as columns of numbers where all were, else of words; None where Python's csv could see otherwise."""
    arrow = _library()
    if arrow is None or b'"' in block or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n")):
        return None
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    if int(np.diff(ends, prepend=-1, append=len(block)).max()) > _FIELD_BYTES:
        return None
    columns = _parsed(arrow, block, delimiter, are_numbers)
    if columns is None and any(are_numbers):
        return _parsed(arrow, block, delimiter, [False] * len(are_numbers))
    return columns


def _parsed(arrow: Any, block: bytes, delimiter: str, are_numbers: Sequence[bool]) -> list[pa.Array] | None:
    types = {str(at): arrow.float64() if number else arrow.string() for at, number in enumerate(are_numbers)}
    try:
        table = arrow.csv.read_csv(
            arrow.py_buffer(block),
            arrow.csv.ReadOptions(use_threads=True, block_size=len(block) + 1, column_names=list(types)),
            arrow.csv.ParseOptions(delimiter=delimiter, quote_char=False, double_quote=False),
            arrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=sorted(MISSING)),
        )
    except (arrow.ArrowException, ValueError):  # a row of another length, which the careful reader names
        return None
    columns = [column.combine_chunks() for column in table.columns]
    sure = all(_finite(column) is not None for column, number in zip(columns, are_numbers, strict=True) if number)
    return columns if sure else None


def numbers(words: pa.Array) -> Floats | None:
    """Plain numbers, NaN where missing; None when a word is not plain: Python's float then decides."""
    arrow = _library()
    assert arrow is not None
    if words.type == arrow.float64():
        return _finite(words)
    for values in (words, None):
        try:
            if values is None:
                gone = arrow.compute.is_in(words, value_set=arrow.array(sorted(MISSING)))
                values = arrow.compute.if_else(gone, None, words)
            found = values.cast(arrow.float64())
            break
        except arrow.ArrowException:
            continue
    else:
        return None
    return _finite(found)


def _finite(values: pa.Array) -> Floats | None:
    """NaN where missing; None when a value that is there is not finite."""
    floats = np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
    return floats if int(np.isfinite(floats).sum()) == len(floats) - values.null_count else None


def stripped(words: pa.Array) -> list[str]:
    """The words without the blanks around them."""
    coded = words.dictionary_encode()
    distinct = [word.strip() for word in coded.dictionary.to_pylist()]
    return [distinct[code] for code in coded.indices.to_pylist()]
