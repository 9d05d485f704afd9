"""What every kind of column gives when its last row is in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

from service.data.description import ColumnDescription
from service.data.spool import Stream

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
