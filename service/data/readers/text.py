"""Reads plain text: its UTF-8 bytes as they are, and where each line begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.data.columns import Finished, text_description
from service.data.source import Source, unusable
from service.data.spool import Piece, Spool, Stream, spooled, stream_of

NAME = "text"


def read_text(sources: Sequence[Source], spool: Spool) -> tuple[int, list[Finished], list[str]]:
    """(lines, one column of text, warnings): the files one after the other. Raises InvalidData naming the line."""
    pieces, ends, size = list[Piece](), [np.zeros(1, np.int64)], 0
    for source in sources:
        for block, _ in source.line_blocks():
            block = block if block.endswith(b"\n") or source is sources[-1] else block + b"\n"
            data = np.frombuffer(block, np.uint8)
            pieces.append(spool.add(data))
            ends.append(np.flatnonzero(data == ord("\n")) + size + 1)
            size += len(block)
    if not size:
        raise unusable("empty", f"{sources[0].name} is empty")
    offsets = np.concatenate(ends)
    if offsets[-1] != size:
        offsets = np.append(offsets, size)
    missing = int((np.diff(offsets) <= 1).sum())
    streams: dict[str, Stream] = {
        "bytes": spooled(spool, pieces, (size,), np.uint8),
        "offsets": stream_of(offsets),
    }
    return len(offsets) - 1, [Finished(text_description(NAME, missing), streams)], []
