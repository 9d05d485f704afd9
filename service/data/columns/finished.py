"""What every kind of column gives when its last row is in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.data.description import ColumnDescription
from service.data.spool import Stream

_ZERO, _NINE, _SPACE, _POINT, _COMMA, _QUOTE, _PLUS, _MINUS = b'09 .,"+-'
_PIECE_BYTES = 1 << 18
_NOWHERE = np.zeros(0, np.intp)
MISSING = frozenset({"", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"})


@dataclass(frozen=True)
class Finished:
    """A column ready to be written: its description, its arrays by suffix, and what to warn of."""

    description: ColumnDescription
    streams: dict[str, Stream]
    warnings: list[str] = field(default_factory=list)


@lru_cache(1 << 12)  # a thousand columns of pixels name the same 256
def number_text(value: float) -> str:
    """A number as a class or a top value is called: whole ones without a point."""
    return str(int(value)) if value == math.floor(value) else repr(value)


def is_number(word: str) -> bool:
    """Whether a word is a number as CSV may hold it: ASCII, no underscores."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word and word.isascii()


def zeros_ahead(text: bytes) -> NDArray[np.intp]:
    """Where fields begin with a 0 before another digit (02134, 007, -05): their spelling is more than their value.

    Fields end at blanks, quotes and commas; where one that is no number has such a word, that is told too.
    """
    found = [_zeros_ahead(text, start) for start in range(0, len(text), _PIECE_BYTES)]
    return np.concatenate(found) if found else _NOWHERE


def _zeros_ahead(text: bytes, start: int) -> NDArray[np.intp]:
    """The same of a piece that stays in the processor's cache."""
    piece = text[max(0, start - 2) : start + _PIECE_BYTES + 1]
    codes = np.frombuffer(piece if start else b"  " + piece, np.uint8)
    ahead = codes[2:-1] == _ZERO
    ahead &= codes[3:] >= _ZERO
    ahead &= codes[1:-2] < _POINT  # neither a digit nor a letter
    if not ahead.any():
        return _NOWHERE
    at = np.flatnonzero(ahead)
    further, before, after = codes[at], codes[at + 1], codes[at + 3]
    signed = (before == _PLUS) | (before == _MINUS)  # of an exponent, unless a field begins there
    begins = ~signed | (further <= _SPACE) | (further == _COMMA) | (further == _QUOTE)
    found: NDArray[np.intp] = at[begins & (after <= _NINE)] + start
    return found
