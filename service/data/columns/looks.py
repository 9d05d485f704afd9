"""What a column of words looks like to a reader, when that is not what it was read as."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.data.columns.finished import is_number, zeros_ahead
from service.data.place import shown
from service.data.wishes import seconds
from service.tensors import Array

_LOOKED_AT = 1_000  # different words, the first ones
_MOSTLY = 0.9
_MARKED = re.compile(r"[$€£]?\s?[+-]?\d+([.,]\d+)*\s?[%€$£]?")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})|\d{4}[./]\d{1,2}[./]\d{1,2}")


def looks(name: str, words: Sequence[str], counts: Array) -> list[str]:
    """Warns of a column of words that somebody meant as numbers or dates. `counts`: how often each word occurs."""
    seen = words[:_LOOKED_AT]
    if 4 * sum(map(is_number, seen)) > len(seen) and (mixed := _mixed(name, words, counts)):
        return [mixed]
    for like, advice in _LOOKS:
        found = [word for word in seen if like(word)]
        if found and len(found) >= _MOSTLY * len(seen):
            return [f"column {name!r} looks like {advice.format(example=shown(found[0]), name=name)}"]
    return []


def _mixed(name: str, words: Sequence[str], counts: Array) -> str | None:
    """Words only because a few of its values are not numbers."""
    number_rows, present = int(counts[list(map(is_number, words))].sum()), int(counts.sum())
    if 2 * number_rows < present:
        return None
    zeros = (word for word in words[:_LOOKED_AT] if is_number(word) and len(zeros_ahead(word.encode())))
    if (padded := next(zeros, None)) is not None:
        begin = f"column {name!r} has numbers that begin with 0 ({shown(padded)}) and is read as words"
        return f"{begin}: say types={name}:number at the upload if they are amounts"
    if number_rows == present:
        return f"column {name!r} holds numbers written as words and is read as words"
    example = next(word for word in words if not is_number(word))
    return (
        f"column {name!r}: {present - number_rows:,} of {present:,} values are not numbers"
        f" (first: {shown(example)}), so all are read as words; leave a cell empty where the number is missing"
    )


def _iso(word: str) -> bool:
    try:
        seconds(word)
    except ValueError:
        return False
    return True


_LOOKS = (
    (_iso, "dates ({example}) and is read as words: say types={name}:date at the upload"),
    (
        lambda word: _DATE.fullmatch(word) is not None,
        "dates ({example}) and is read as words: write them as 2024-02-29 and say types={name}:date",
    ),
    (
        lambda word: _MARKED.fullmatch(word) is not None and not word.isdecimal(),
        "numbers with marks ({example}) and is read as words: write 1234.5, with a point and no other mark",
    ),
)
