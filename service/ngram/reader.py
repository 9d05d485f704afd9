"""From the bytes of a text to a stream of numbers, block by block: every sentence is followed by END."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END
from service.ngram.spec import NgramSpec
from service.ngram.tokenizers import BLANK, Regex
from service.ngram.vocabulary import PADDING, U32

Text = bytes | bytearray | memoryview
BLOCK_BYTES = 1 << 19
_FEED = 10
_IS_BLANK = np.zeros(256, bool)
_IS_BLANK[np.frombuffer(BLANK.encode() + b"\n", np.uint8)] = True
_REGEX_PIECE = re.compile(rf"\n|{Regex.token}")


class Numbering(Protocol):
    """Gives tokens their numbers: a growing one in training, a fixed one in scoring."""

    def words(self, data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> U32:
        """Numbers of the words data[start : start + size]; SKIPPED for <s> and </s>."""
        ...

    def units(self, values: U32) -> U32:
        """Numbers of characters (code points) or bytes."""
        ...


SKIPPED = np.uint32(0xFFFFFFFF)


def blocks(text: Text, size: int = BLOCK_BYTES) -> Iterator[memoryview]:
    """Cuts a text after line feeds, or where a line is longer than a block, after a blank."""
    view, at = memoryview(text).cast("B"), 0
    while at < len(view):
        stop = min(at + size, len(view))
        while stop < len(view) and (cut := _last_break(view, at, stop)) is None:
            stop = min(stop + size, len(view))
        stop = len(view) if stop >= len(view) else at + (cut or 0)
        while stop < len(view) and view[stop] == _FEED:  # a run of line feeds stays in one block
            stop += 1
        yield view[at:stop]
        at = stop


def _last_break(view: memoryview, start: int, stop: int) -> int | None:
    piece = bytes(view[start:stop])
    cut = max(piece.rfind(b"\n"), -1)
    if cut < 0:
        cut = max(piece.rfind(blank) for blank in (b" ", b"\t", b"\r", b"\0"))
    return cut + 1 if cut >= 0 else None


@dataclass
class Reader:
    """Reads one text: `read` each block in turn, then `close`."""

    spec: NgramSpec
    numbering: Numbering
    feeds: int = 0  # line feeds since the last token, over the edge of a block
    open: bool = False  # tokens since the last END

    def read(self, block: memoryview) -> U32:
        """The numbers of a block's tokens, END after each sentence that ended in it."""
        if self.spec.tokenizer.unit == "word":
            numbers, breaks = self._words(self._worded(block))
        else:
            numbers, breaks = self._units(block)
        stream = _with_ends(numbers, breaks)
        kept = stream[stream != SKIPPED]
        keep = self.spec.sentences == "line" and self.spec.blank_lines == "keep"
        return self._noted(kept) if keep else self._without_blank_lines(kept)

    def close(self) -> U32:
        """END for a last sentence that no break ended."""
        return np.full(1 if self.open else 0, END, np.uint32)

    def _noted(self, stream: U32) -> U32:
        if len(stream):
            self.open = bool(stream[-1] != END)
        return stream

    def _without_blank_lines(self, stream: U32) -> U32:
        ends = stream == END
        before = np.concatenate([[not self.open], ends[:-1]]) if len(stream) else ends
        return self._noted(stream[~(ends & before)])

    def _worded(self, block: memoryview) -> NDArray[np.uint8]:
        """The block with its words between blanks, PADDING bytes after it."""
        spec, raw = self.spec, bytes(block)
        if spec.tokenizer.kind == "regex" or spec.lowercase or spec.normalize != "none":
            text = normalised(spec, raw.decode("utf-8", "replace"))
            if spec.tokenizer.kind == "regex":
                text = " ".join(_REGEX_PIECE.findall(text))
            raw = text.encode()
        return np.frombuffer(raw + bytes(PADDING), np.uint8)

    def _words(self, data: NDArray[np.uint8]) -> tuple[U32, NDArray[np.int64]]:
        blank = _IS_BLANK[data]
        edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
        if not blank[0]:
            edges = np.concatenate([[0], edges])
        starts, stops = edges[0::2], edges[1::2]
        numbers = self.numbering.words(data, starts, stops - starts)
        feeds = np.searchsorted(starts, np.flatnonzero(data == _FEED))
        return numbers, self._breaks(feeds, len(starts))

    def _units(self, block: memoryview) -> tuple[U32, NDArray[np.int64]]:
        spec, raw = self.spec, bytes(block)
        if spec.lowercase or spec.normalize != "none":
            raw = normalised(spec, raw.decode("utf-8", "replace")).encode()
        if spec.tokenizer.unit == "byte":
            values = np.frombuffer(raw, np.uint8).astype(np.uint32)
        else:
            raw = raw.replace(b"\r\n", b"\n")
            values = np.frombuffer(raw.decode("utf-8", "replace").encode("utf-32-le"), np.uint32)
        ends, dropped = self._unit_ends(values == _FEED)
        breaks = np.flatnonzero(ends)
        return self.numbering.units(values[~dropped]), breaks - np.cumsum(dropped)[breaks] + 1

    def _unit_ends(self, feeds: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which line feeds end a sentence, and which are no tokens: each, those of a run, or none."""
        if self.spec.sentences == "line":
            return feeds, feeds
        if self.spec.sentences == "document":
            return np.zeros_like(feeds), np.zeros_like(feeds)
        after = np.concatenate([feeds[1:], [False]]) & feeds
        before = np.concatenate([[False], feeds[:-1]]) & feeds
        return before & ~after, before | after

    def _breaks(self, feeds: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
        """Before which tokens of the block a sentence ends, one entry per end; `feeds`: the same for line feeds."""
        if self.spec.sentences == "line":
            return feeds
        if self.spec.sentences == "document":
            return feeds[:0]
        counts = np.bincount(feeds, minlength=tokens + 1)
        counts[0] += self.feeds
        self.feeds = int(counts[-1])
        return np.flatnonzero(counts[:-1] >= 2)


def _with_ends(numbers: U32, breaks: NDArray[np.int64]) -> U32:
    stream = np.empty(len(numbers) + len(breaks), np.uint32)
    at = breaks + np.arange(len(breaks))
    is_token = np.ones(len(stream), bool)
    is_token[at] = False
    stream[at] = END
    stream[is_token] = numbers
    return stream


def normalised(spec: NgramSpec, text: str) -> str:
    """The text as the model sees it: lower case and Unicode form."""
    if spec.normalize != "none":
        text = unicodedata.normalize("NFC" if spec.normalize == "nfc" else "NFKC", text)
    return text.lower() if spec.lowercase else text
