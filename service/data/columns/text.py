"""A column of free text, built piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.data.columns.finished import Finished
from service.data.description import ColumnDescription
from service.data.spool import Piece, Spool, offsets, spooled


class Text:
    """A column of free text: all its UTF-8 bytes, and where each row's begin. A missing row is empty."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._bytes, self._lengths = list[Piece](), list[Piece]()
        self._rows, self._size, self._missing = 0, 0, 0

    def add(self, values: Sequence[str | None]) -> None:
        encoded = [(value or "").encode() for value in values]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self._missing += int((lengths == 0).sum())
        self._rows, self._size = self._rows + len(values), self._size + int(lengths.sum())
        self._bytes.append(self._spool.add(np.frombuffer(b"".join(encoded), np.uint8)))
        self._lengths.append(self._spool.add(lengths))

    def finish(self, name: str) -> Finished:
        streams = {
            "bytes": spooled(self._spool, self._bytes, (self._size,), np.uint8),
            "offsets": offsets(self._spool, self._lengths, self._rows),
        }
        return Finished(text_description(name, self._missing), streams)


def text_description(name: str, missing: int) -> ColumnDescription:
    """The description of a column of free text."""
    return ColumnDescription(
        name=name, type="text", dtype="utf-8", shape=[], integer=False, missing=missing, distinct=None,
        min=None, max=None, mean=None, std=None, top=[], classes=None,
    )  # fmt: skip
