"""Cursors over the series of a run: up to which step each was read, and whether it has been rewritten since then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row

from service.errors import Fault, InvalidSpec
from service.storage import cursor
from service.storage.curve import Ask

Marks = Mapping[str, tuple[int, int]]  # of each series by name: its rewrites and the last step read


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a series is news, and whether it follows what was read or replaces it."""

    ask: Ask
    continues: bool


def read(text: str | None) -> Marks:
    """What a cursor says; nothing without one. Raises InvalidSpec when it is none of ours."""
    if text is None:
        return {}
    (found,) = cursor.decode(text, dict)
    if not all(isinstance(mark, list) and list(map(type, mark)) == [int, int] for mark in found.values()):
        message = "not a cursor of series"
        raise InvalidSpec(message, faults=[Fault("/after", "invalid_cursor", message, "Give `next` as it came.")])
    return {name: (rewrites, last_step) for name, (rewrites, last_step) in found.items()}


def write(marks: Marks) -> str:
    return cursor.encode(dict(sorted(marks.items())))


def mark(row: Row[Any]) -> tuple[int, int]:
    return row.rewrites, row.last_step


def part(row: Row[Any], marks: Marks, ask: Ask) -> Part | None:
    """Of a row of `series`; None when there is no news in it."""
    if row.name not in marks:
        return Part(ask, continues=False)
    rewrites, last_step = marks[row.name]
    if rewrites != row.rewrites:
        return Part(ask, continues=False)
    if last_step >= row.last_step:
        return None
    return Part(replace(ask, from_step=max(ask.from_step, last_step + 1)), continues=True)
