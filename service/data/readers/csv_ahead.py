"""Blocks of a CSV, the next ones read and cut by threads while this one is taken in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from service.data.readers.csv_fast import NUMBERS, Cut, Hint, available, cut
from service.data.source import BLOCK_BYTES, Lines, Source, line_count

LARGE_BYTES = 4_000_000  # a smaller file is read sooner than pyarrow is imported
LARGE_BLOCK_BYTES, WIDE_BLOCK_BYTES = 2 << 20, 3 << 20  # fewer, larger pieces of columns
WIDE = 200  # columns
_THREADS, _AHEAD = 2, 3  # a third thread would take the two others' caches
Hints = Sequence[Hint]


@dataclass(frozen=True, slots=True)
class Found:
    """What a thread made of a block: the lines that lead to the names, all its lines, and the columns below them."""

    header: bytes
    lines: int
    columns: Cut | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A block: its whole lines, checked, when they are asked for; `line`: the number of the first one."""

    block: Callable[[], bytes]
    line: int
    delimiter: str = ","
    hints: Hints = ()
    found: Found = Found(b"", 0, None)

    def columns(self, hints: Hints) -> Cut | None:
        """What follows the header, by columns; anew when one that was cut as numbers must be words by now."""
        columns = self.found.columns
        if columns is not None and any(a in NUMBERS and b == "word" for a, b in zip(self.hints, hints, strict=True)):
            return cut(self.block()[len(self.found.header) :], self.delimiter, hints)
        return columns


def pieces(
    source: Source, delimiter: str, columns: int, hints: Callable[[], Hints], *, header: bool
) -> Iterator[Piece]:
    """The file in blocks; cut into columns when it is large, pyarrow is there, and the block is plain."""
    large = source.packed_bytes > LARGE_BYTES
    size = BLOCK_BYTES if not large else LARGE_BLOCK_BYTES if columns < WIDE else WIDE_BLOCK_BYTES
    if not (large and available()):
        for block, line in source.line_blocks(size):
            yield Piece(partial(bytes, block), line)
        return
    blocks, line = source.lines(size), 1
    coming = deque[tuple[Lines, Hints, Future[Found]]]()
    with ThreadPoolExecutor(_THREADS, "csv") as threads:
        while True:
            for lines in islice(blocks, _AHEAD - len(coming)):
                coming.append((lines, now := hints(), threads.submit(_cut, lines, delimiter, now, header)))
                header = False
            if not coming:
                return
            lines, then, future = coming.popleft()
            found = future.result()
            yield Piece(partial(lines.checked, line), line, delimiter, then, found)
            line += found.lines


def _cut(lines: Lines, delimiter: str, hints: Hints, header: bool) -> Found:
    block = lines.read()
    named, ascii = _names(block) if header else b"", block.isascii()
    count = line_count(block)
    if b"\0" in block or not (ascii or _is_utf8(named)):
        return Found(named, count, None)
    body = block[len(named) :] if named else block
    return Found(named, count, cut(body, delimiter, hints, ascii=ascii))


def _names(block: bytes) -> bytes:
    """The first line that is not blank, and those before it."""
    end = 0
    while end < len(block):
        start, end = end, block.find(b"\n", end) + 1 or len(block)
        if block[start:end].strip():
            break
    return block[:end]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
