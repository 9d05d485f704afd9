"""Reads plain text: its UTF-8 bytes as they are, and where each line begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from service.data.columns import Finished, text_description
from service.data.readers import Read
from service.data.source import Source, unusable
from service.data.spool import Piece, Spool, spooled, stream_of

NAME = "text"


def read_text(sources: Sequence[Source], spool: Spool) -> Read:
    """The files one after the other, a line a row. Raises InvalidData naming the line."""
    return text_rows(_blocks(sources), spool)


def text_rows(blocks: Iterable[bytes], spool: Spool) -> Read:
    """Blocks of whole lines as one column of text."""
    pieces, ends, size = list[Piece](), [np.zeros(1, np.int64)], 0
    for block in blocks:
        data = np.frombuffer(block, np.uint8)
        pieces.append(spool.add(data))
        ends.append(np.flatnonzero(data == ord("\n")) + size + 1)
        size += len(block)
    if not size:
        raise unusable("empty", "the text is empty")
    offsets = np.concatenate(ends)
    if offsets[-1] != size:
        offsets = np.append(offsets, size)
    empty_lines = int((np.diff(offsets) <= 1).sum())
    streams = {"bytes": spooled(spool, pieces, (size,), np.uint8), "offsets": stream_of(offsets)}
    return len(offsets) - 1, [Finished(text_description(NAME, empty_lines), streams)], []


def _blocks(sources: Sequence[Source]) -> Iterator[bytes]:
    for source in sources:
        block = b""
        for block, _ in source.line_blocks():
            yield block
        if source is not sources[-1] and not block.endswith(b"\n"):
            yield b"\n"
