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
    """What a thread made of a block: the lines that lead to the names, and the columns below them."""

    header: bytes
    columns: Cut | None


class Passed:
    """Counts the lines of the blocks before, when somebody asks: hardly anybody does."""

    def __init__(self) -> None:
        self._line, self._uncounted = 1, list[Lines]()

    def add(self, lines: Lines) -> None:
        self._uncounted.append(lines)
        if lines.held is not None:
            self.line()

    def line(self) -> int:
        """The number of the line after them."""
        while self._uncounted:
            self._line += line_count(self._uncounted.pop().read())
        return self._line


@dataclass(frozen=True, slots=True)
class Piece:
    """A block: its whole lines, checked, when they are asked for, and the number of the first one."""

    block: Callable[[], bytes]
    line: Callable[[], int]
    delimiter: str = ","
    hints: Hints = ()
    found: Found = Found(b"", None)

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
            yield Piece(partial(bytes, block), partial(int, line))
        return
    blocks, passed = source.lines(size), Passed()
    coming = deque[tuple[Lines, Hints, Future[Found]]]()
    with ThreadPoolExecutor(_THREADS, "csv") as threads:
        while True:
            for lines in islice(blocks, _AHEAD - len(coming)):
                coming.append((lines, now := hints(), threads.submit(_cut, lines, delimiter, now, header)))
                header = False
            if not coming:
                return
            lines, then, future = coming.popleft()
            yield Piece(partial(_checked, lines, passed), passed.line, delimiter, then, future.result())
            passed.add(lines)


def _checked(lines: Lines, passed: Passed) -> bytes:
    return lines.checked(passed.line())


def _cut(lines: Lines, delimiter: str, hints: Hints, header: bool) -> Found:
    block = lines.read()
    named, ascii = _names(block) if header else b"", block.isascii()
    if b"\0" in block or named.count(b'"') % 2 or not (ascii or _is_utf8(named)):
        return Found(named, None)
    body = block[len(named) :] if named else block
    return Found(named, cut(body, delimiter, hints, ascii=ascii))


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
