"""Blocks of a CSV, the next ones cut by threads while this one is taken in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from service.data.readers.csv_fast import NUMBERS, Cut, Hint, available, cut
from service.data.source import BLOCK_BYTES, Source

LARGE_BYTES = 4_000_000  # a smaller file is read sooner than pyarrow is imported
LARGE_BLOCK_BYTES, WIDE_BLOCK_BYTES = 2 << 20, 3 << 20  # fewer, larger pieces of columns
WIDE = 200  # columns
_THREADS, _AHEAD = 2, 3  # a third thread would take the two others' caches
Hints = Sequence[Hint]


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines; `header`: those of them that lead to the names, when the block begins with these."""

    block: bytes
    line: int  # number of the first one
    header: bytes
    delimiter: str
    hints: Hints
    found: Cut | None

    def columns(self, hints: Hints) -> Cut | None:
        """What follows the header, by columns; anew when one that was cut as numbers must be words by now."""
        if self.found is not None and any(a in NUMBERS and b == "word" for a, b in zip(self.hints, hints, strict=True)):
            return cut(self.block[len(self.header) :], self.delimiter, hints)
        return self.found


def pieces(
    source: Source, delimiter: str, columns: int, hints: Callable[[], Hints], *, header: bool
) -> Iterator[Piece]:
    """The file in blocks; cut into columns when it is large, pyarrow is there, and the block is plain."""
    large = source.packed_bytes > LARGE_BYTES
    size = BLOCK_BYTES if not large else LARGE_BLOCK_BYTES if columns < WIDE else WIDE_BLOCK_BYTES
    blocks = source.line_blocks(size)
    if not (large and available()):
        yield from (Piece(block, line, b"", delimiter, (), None) for block, line in blocks)
        return
    coming = deque[Future[Piece]]()
    with ThreadPoolExecutor(_THREADS, "csv") as threads:
        while True:
            for block, line in islice(blocks, _AHEAD - len(coming)):
                coming.append(threads.submit(_cut, block, line, delimiter, hints(), header))
                header = False
            if not coming:
                return
            yield coming.popleft().result()


def _cut(block: bytes, line: int, delimiter: str, hints: Hints, header: bool) -> Piece:
    named = _names(block) if header else b""
    return Piece(block, line, named, delimiter, hints, cut(block[len(named) :] if named else block, delimiter, hints))


def _names(block: bytes) -> bytes:
    """The first line that is not blank, and those before it."""
    end = 0
    while end < len(block):
        start, end = end, block.find(b"\n", end) + 1 or len(block)
        if block[start:end].strip():
            break
    return block[:end]
