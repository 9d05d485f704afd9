"""Columns being built piece by piece: numbers, words (category or text) and arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.data.description import ColumnDescription, ColumnType, Counted
from service.data.place import shown
from service.data.spool import Piece, Spool, Stream, spooled, stream_of
from service.data.statistics import MOST_CLASSES, TOP, Distinct, Floats, Moments, array_moments
from service.tensors import Array

MOST_WORDS = 65_536  # distinct values of a category; beyond it a column is text
MOST_WORD_CHARACTERS = 16_000_000
FEW = 20  # so few distinct values are a category, however few the rows
LONG_WORD = 100  # mean characters of a value; longer ones are prose
IMAGE_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Finished:
    """A column ready to be written: its description, its arrays by suffix, and what to warn of."""

    description: ColumnDescription
    streams: dict[str, Stream]
    warnings: list[str] = field(default_factory=list)


def number_text(value: float) -> str:
    """A number as a class or a top value is called: whole ones without a point."""
    return str(int(value)) if value == math.floor(value) else repr(value)


class Numbers:
    """A column of numbers; NaN is missing. Kept as float32 when every value survives it, else float64."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._pieces = spool, list[Piece]()
        self.moments, self._distinct = Moments(), Distinct()
        self._single, self._integer, self._infinite, self._rows = True, True, 0, 0

    @property
    def empty(self) -> bool:
        """Whether no row so far has a value."""
        return self.moments.count == 0

    def add(self, values: Floats) -> None:
        """Takes a piece of rows. values: (rows,); infinite ones are counted and become missing."""
        infinite = np.isinf(values)
        if infinite.any():
            self._infinite += int(infinite.sum())
            values = np.where(infinite, np.nan, values)
        present = self.moments.add(values)
        self._distinct.add(present)
        with np.errstate(over="ignore"):
            self._single = self._single and bool((present.astype(np.float32) == present).all())
        self._integer = self._integer and bool((present == np.floor(present)).all())
        self._rows += len(values)
        self._pieces.append(self._spool.add(values))

    def skip(self, rows: int) -> None:
        """Takes `rows` missing rows."""
        if rows:
            self.add(np.full(rows, np.nan))

    def finish(self, name: str) -> Finished:
        """The column as it will be written."""
        dtype = "float32" if self._single else "float64"
        counts, integer = self._distinct.counts, self._integer and not self.empty
        top = [] if counts is None else counts.most_common(TOP)
        description = ColumnDescription(
            name=name, type="number", dtype=dtype, shape=[], integer=integer, missing=self.moments.missing,
            distinct=None if counts is None else len(counts), **self.moments.summary(),
            top=[Counted(value=number_text(value), count=count) for value, count in top],
            classes=[number_text(value) for value in sorted(counts)] if integer and counts is not None else None,
        )  # fmt: skip
        found = f"column {name!r}: {self._infinite:,} infinite values are read as missing"
        stream = spooled(self._spool, self._pieces, (self._rows,), dtype)
        return Finished(description, {"values": stream}, [found] if self._infinite else [])


class _Vocabulary(dict[Hashable, int]):
    """Gives each new word the next code; words that stand for nothing have code -1 from the start."""

    def __init__(self, missing: frozenset[str]) -> None:
        super().__init__(dict.fromkeys(missing, -1))
        self[None] = -1
        self.words: list[str] = []
        self.characters = 0

    def __missing__(self, word: str) -> int:
        code = self[word] = len(self.words)
        self.words.append(word)
        self.characters += len(word)
        return code


class Words:
    """A column of words: a category by codes while its vocabulary is small, else text."""

    def __init__(self, spool: Spool, missing: frozenset[str]) -> None:
        self._spool, self._pieces = spool, list[Piece]()
        self._vocabulary, self._missing = _Vocabulary(missing), missing
        self._text: _Text | None = None
        self._rows = 0

    def add(self, values: Sequence[str | None]) -> None:
        """Takes a piece of rows; None and the missing words are missing."""
        self._rows += len(values)
        if self._text is not None:
            self._text.add([None if value in self._missing else value for value in values])
            return
        codes = np.fromiter(map(self._vocabulary.__getitem__, values), np.int32, len(values))
        self._pieces.append(self._spool.add(codes))
        if len(self._vocabulary.words) > MOST_WORDS or self._vocabulary.characters > MOST_WORD_CHARACTERS:
            self._text = self._decoded()

    def skip(self, rows: int) -> None:
        """Takes `rows` missing rows."""
        if rows:
            self.add([None] * rows)

    def _decoded(self) -> _Text:
        text, words = _Text(self._spool), [*self._vocabulary.words, None]  # code -1 finds the last
        for piece in self._pieces:
            text.add([words[code] for code in self._spool.get(piece).tolist()])
        return text

    def finish(self, name: str) -> Finished:
        """The column as category or text, by what it holds."""
        if self._text is not None:
            return self._text.finish(name)
        words, counts = self._vocabulary.words, self._counts()
        present = int(counts.sum())
        few = len(words) <= max(FEW, present // 2)
        prose = sum(map(len, words)) > LONG_WORD * max(1, len(words))
        if not few or prose:
            return self._decoded().finish(name)
        return self._category(name, words, counts, present)

    def _counts(self) -> Array:
        size = len(self._vocabulary.words) + 1
        counts = np.zeros(size, np.int64)
        for piece in self._pieces:
            counts += np.bincount(self._spool.get(piece) + 1, minlength=size)
        return counts[1:]

    def _category(self, name: str, words: list[str], counts: Array, present: int) -> Finished:
        top = Counter(dict(zip(words, counts.tolist(), strict=True))).most_common(TOP)
        description = ColumnDescription(
            name=name, type="category", dtype="int32", shape=[], integer=False, missing=self._rows - present,
            distinct=len(words), min=None, max=None, mean=None, std=None,
            top=[Counted(value=word, count=count) for word, count in top],
            classes=sorted(words) if len(words) <= MOST_CLASSES else None,
        )  # fmt: skip
        encoded = [word.encode() for word in words]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        streams = {
            "codes": spooled(self._spool, self._pieces, (self._rows,), np.int32),
            "bytes": stream_of(np.frombuffer(b"".join(encoded), np.uint8)),
            "offsets": stream_of(offsets),
        }
        return Finished(description, streams, _mixed(name, words, counts, present))


def _mixed(name: str, words: list[str], counts: Array, present: int) -> list[str]:
    """Warns of a column that is words only because a few of its values are not numbers."""
    numeric = np.array([is_number(word) for word in words], bool)
    number_rows = int(counts[numeric].sum())
    if number_rows * 2 < present or not number_rows:
        return []
    if number_rows == present:
        return [f"column {name!r} holds numbers written as words and is read as words"]
    example = words[int(np.flatnonzero(~numeric)[0])]
    return [
        f"column {name!r}: {present - number_rows:,} of {present:,} values are not numbers"
        f" (first: {shown(example)}), so all are read as words; leave a cell empty where the number is missing"
    ]


def is_number(word: str) -> bool:
    """Whether a word is a number as CSV may hold it: ASCII, no underscores."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word and word.isascii()


class _Text:
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
            "offsets": Stream(np.dtype(np.int64), (self._rows + 1,), self._offsets),
        }
        return Finished(text_description(name, self._missing), streams)

    def _offsets(self) -> Iterator[Array]:
        end = 0
        yield np.zeros(1, np.int64)
        for piece in self._lengths:
            ends = np.cumsum(self._spool.get(piece)) + end
            end = int(ends[-1]) if len(ends) else end
            yield ends


def text_description(name: str, missing: int) -> ColumnDescription:
    """The description of a column of free text."""
    return ColumnDescription(
        name=name, type="text", dtype="utf-8", shape=[], integer=False, missing=missing, distinct=None,
        min=None, max=None, mean=None, std=None, top=[], classes=None,
    )  # fmt: skip


class Arrays:
    """A column whose rows are arrays of one shape; kept in its own type, or in the least that loses nothing."""

    def __init__(self, spool: Spool, shape: tuple[int, ...], *, native: bool) -> None:
        self.shape, self._native = shape, native
        self._spool, self._pieces, self._rows = spool, list[Piece](), 0
        self._dtypes: set[np.dtype[np.generic]] = set()
        self._moments, self._single = Moments(), True

    def add(self, values: Array) -> None:
        """Takes a piece of rows. values: (rows, *shape)."""
        array_moments(values, self._moments)
        self._dtypes.add(values.dtype)
        if not self._native and values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                self._single = self._single and bool((values.astype(np.float32) == values).all())
        self._rows += len(values)
        self._pieces.append(self._spool.add(values))

    def finish(self, name: str) -> Finished:
        """The column as image (bytes, height x width, or with 1, 3 or 4 channels last) or array."""
        dtype = np.result_type(*self._dtypes) if self._native else self._least()
        integer = dtype.kind in "iu"
        description = ColumnDescription(
            name=name, type=_array_type(self.shape, dtype), dtype=dtype.name, shape=list(self.shape), integer=integer,
            missing=self._moments.missing, distinct=None, **self._moments.summary(), top=[], classes=None,
        )  # fmt: skip
        missing = f"column {name!r}: {self._moments.missing:,} values are not finite"
        stream = spooled(self._spool, self._pieces, (self._rows, *self.shape), dtype)
        return Finished(description, {"values": stream}, [missing] if self._moments.missing else [])

    def _least(self) -> np.dtype[np.generic]:
        least, greatest = self._moments.least, self._moments.greatest
        if any(dtype.kind == "f" for dtype in self._dtypes):
            return np.dtype(np.float32 if self._single else np.float64)
        if len(self.shape) > 1 and least >= 0 and greatest <= 255:
            return np.dtype(np.uint8)
        return np.dtype(np.int32 if max(-least, greatest) < 2**31 else np.int64)


def _array_type(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> ColumnType:
    pixels = len(shape) == 2 or (len(shape) == 3 and shape[-1] in IMAGE_CHANNELS)
    return "image" if dtype == np.uint8 and pixels else "array"
