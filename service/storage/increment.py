"""Cursors over the series of a run: up to which step each was read, and whether it has been rewritten since then.

A series stands in it as six bytes of a digest of its run and its name, so that what a thousand series say still fits
into a URL, and the cursor of another run says nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from sqlalchemy import Row

from service.errors import Fault, InvalidSpec
from service.storage import cursor
from service.storage.curve import Ask

_BYTES = 6  # of a digest: two of 1,000 series are alike once in 10^9 runs
Mark = tuple[int, int]  # how often a series was rewritten, and the last step read
Marks = Mapping[bytes, Mark]  # by the series' digest


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a series is news, and whether it follows what was read or replaces it."""

    ask: Ask
    continues: bool


def read(text: str | None) -> Marks:
    """What a cursor says; nothing without one. Raises InvalidSpec when it is none of ours."""
    if text is None:
        return {}
    (groups,) = cursor.decode(text, list)
    try:
        return {digest: mark for mark, digests in map(_group, groups) for digest in digests}
    except (TypeError, ValueError, binascii.Error):
        message = "not a cursor of series"
        fault = Fault("/after", "invalid_cursor", message, "Give `next` as it came.")
        raise InvalidSpec(message, faults=[fault]) from None


def write(before: Marks, rows: Iterable[Row[Any]]) -> str:
    """The cursor behind rows of `series`, and behind what was read before."""
    groups: dict[Mark, list[bytes]] = {}
    for digest, mark in {**before, **{_digest(row): (row.rewrites, row.last_step) for row in rows}}.items():
        groups.setdefault(mark, []).append(digest)
    return cursor.encode([[*mark, _text(digests)] for mark, digests in sorted(groups.items())])


def part(row: Row[Any], marks: Marks, ask: Ask) -> Part | None:
    """Of a row of `series`; None when there is no news in it."""
    rewrites, last_step = marks.get(_digest(row), (None, 0))
    if rewrites != row.rewrites:
        return Part(ask, continues=False)
    if last_step >= row.last_step:
        return None
    return Part(replace(ask, from_step=max(ask.from_step, last_step + 1)), continues=True)


def _digest(row: Row[Any]) -> bytes:
    return blake2b(f"{row.run_key} {row.name}".encode(), digest_size=_BYTES).digest()


def _text(digests: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(digests))).decode()


def _group(given: Any) -> tuple[Mark, list[bytes]]:
    """Series that were read up to the same step. Raises TypeError, ValueError."""
    rewrites, last_step, text = given
    if (type(rewrites), type(last_step)) != (int, int):
        raise TypeError
    digests = base64.b64decode(text, validate=True)
    return (rewrites, last_step), [digests[at : at + _BYTES] for at in range(0, len(digests), _BYTES)]
