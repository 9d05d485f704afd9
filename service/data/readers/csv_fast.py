"""Cuts plain blocks of a large CSV with pyarrow, where it is installed: the same columns, or none at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.data.columns import MISSING, zeros_ahead
from service.data.statistics import Bytes, Floats, all_finite

if TYPE_CHECKING:
    import pyarrow as pa

Hint = Literal["byte", "number", "word", "any"]  # what a column has held so far, or looks like
NUMBERS = frozenset[Hint]({"byte", "number"})
_NEWLINE, _RETURN, _QUOTE, _ZERO, _X, _LOWER = *b'\n\r"0x', 0x20
_FIELD_BYTES = 1 << 17  # what Python's csv takes in a field


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of words: the different ones as they are written, in the order they come, and each row's."""

    codes: NDArray[np.int32]
    words: list[str]


Cut = list["Floats | Bytes | Coded"]


@cache
def _library() -> Any:
    """pyarrow with its parts csv and compute; None where it is not installed."""
    try:
        import pyarrow.compute  # noqa: PLC0415 - an extra
        import pyarrow.csv  # noqa: PLC0415
    except ImportError:
        return None
    return pyarrow


def available() -> bool:
    """Whether blocks can be cut this way at all."""
    return _library() is not None


def cut(block: bytes, delimiter: str, hints: Sequence[Hint], *, ascii: bool = False) -> Cut | None:
    """Whole lines as columns of numbers or of words; None where Python's csv could see otherwise, or no UTF-8."""
    arrow = _library()
    if arrow is None or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n")):
        return None
    if _has_long_line(block) or (b'"' in block and not _plainly_quoted(block, delimiter)):
        return None
    hints = _spelled(block, delimiter, hints)
    tries: list[Sequence[Hint]] = [["number" if hint == "byte" else hint for hint in hints]]
    if "byte" in hints and not _has_hex(block):
        tries.insert(0, hints)
    if not NUMBERS.isdisjoint(hints):
        tries.append(["any" if hint in NUMBERS else hint for hint in hints])
    return next((found for each in tries if (found := _parsed(arrow, block, delimiter, each, ascii)) is not None), None)


def _spelled(block: bytes, delimiter: str, hints: Sequence[Hint]) -> Sequence[Hint]:
    """The hints, but words for columns in which a field begins with 0 before another digit."""
    zeros = zeros_ahead(block if delimiter in ",\t" else block.replace(delimiter.encode(), b","))
    if not len(zeros):
        return hints
    codes = np.frombuffer(block, np.uint8)
    marks = codes == ord(delimiter)
    if b'"' in block:
        marks &= np.cumsum(codes == _QUOTE) % 2 == 0
    ends, newlines = np.flatnonzero(marks), np.flatnonzero(codes == _NEWLINE)
    starts = np.concatenate([[0], newlines + 1])[np.searchsorted(newlines, zeros)]
    columns = set((np.searchsorted(ends, zeros) - np.searchsorted(ends, starts)).tolist())
    return ["word" if at in columns else hint for at, hint in enumerate(hints)]


def _plainly_quoted(block: bytes, delimiter: str) -> bool:
    """Whether each quote opens or closes a field of one line, or is doubled inside of one: read in one way only."""
    codes = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    inside = np.searchsorted(quotes, np.flatnonzero(codes == _NEWLINE)) % 2
    if len(quotes) % 2 or inside.any():
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before, after = codes[opening - 1], codes.take(closing + 1, mode="clip")
    begins = (before == ord(delimiter)) | (before == _NEWLINE)
    ends = (after == ord(delimiter)) | (after == _NEWLINE) | (after == _RETURN)
    doubled = opening[1:] == closing[:-1] + 1
    begins[1:] |= doubled
    ends[:-1] |= doubled
    begins[0] |= opening[0] == 0
    ends[-1] |= closing[-1] + 1 == len(codes)
    return bool(begins.all() and ends.all())


def _has_hex(block: bytes) -> bool:
    """Whether something looks like 0x1f, which pyarrow takes for a whole number, and Python's float for none."""
    if b"x" not in block and b"X" not in block:
        return False
    codes = np.frombuffer(block, np.uint8)
    return bool(((codes[1:] | _LOWER == _X) & (codes[:-1] == _ZERO)).any())


def _has_long_line(block: bytes) -> bool:
    """Whether a line has more than _FIELD_BYTES; every half of it must hold an end of line when none has."""
    half = _FIELD_BYTES // 2
    if all(block.find(b"\n", at, at + half) >= 0 for at in range(0, len(block) - half, half)):
        return False
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    return int(np.diff(ends, prepend=-1, append=len(block)).max()) > _FIELD_BYTES


def _parsed(arrow: Any, block: bytes, delimiter: str, hints: Sequence[Hint], ascii: bool) -> Cut | None:
    kinds = {
        "byte": arrow.uint8(), "number": arrow.float64(), "word": arrow.dictionary(arrow.int32(), arrow.string()),
        "any": arrow.string(),
    }  # fmt: skip
    quoted = b'"' in block
    types = {str(at): kinds[hint] for at, hint in enumerate(hints)}
    try:
        table = arrow.csv.read_csv(
            arrow.py_buffer(block),
            arrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=list(types)),
            arrow.csv.ParseOptions(delimiter=delimiter, quote_char=quoted and '"', double_quote=quoted),
            arrow.csv.ConvertOptions(
                column_types=types, strings_can_be_null=False, null_values=sorted(MISSING), check_utf8=not ascii
            ),
        )
    except (arrow.ArrowException, ValueError):  # a row of another length, which the careful reader names
        return None
    found: Cut = []
    for column, hint in zip(table.columns, hints, strict=True):
        values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if hint == "byte" and not values.null_count:
            found.append(values.to_numpy())
            continue
        floats = None if hint == "word" else numbers(values)
        if floats is None and hint in NUMBERS:
            return None
        found.append(coded(values) if floats is None else floats)
    return found


def numbers(words: pa.Array) -> Floats | None:
    """Plain numbers, NaN where missing; None when a word is not plain: Python's float then decides."""
    arrow = _library()
    assert arrow is not None
    if words.type == arrow.float64():
        return _finite(words)
    if words.type == arrow.uint8():
        return _finite(words.cast(arrow.float64()))
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
    if not values.null_count and all_finite(floats):
        return floats
    return floats if int(np.count_nonzero(np.isfinite(floats))) == len(floats) - values.null_count else None


def coded(words: pa.Array) -> Coded:
    """Each different word once."""
    arrow = _library()
    assert arrow is not None
    given = words if isinstance(words, arrow.DictionaryArray) else words.dictionary_encode()
    return Coded(given.indices.to_numpy(), given.dictionary.to_pylist())
