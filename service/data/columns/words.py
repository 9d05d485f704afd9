"""A column of words, built piece by piece: a category while it has few different ones, else text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.data.columns.finished import Finished
from service.data.columns.looks import looks
from service.data.columns.text import Text
from service.data.description import ColumnDescription, Counted
from service.data.place import refusal
from service.data.spool import Piece, Spool, spooled, stream_of
from service.data.statistics import MOST_CLASSES, TOP
from service.errors import Fault
from service.tensors import Array

Codes = NDArray[np.int32]
MOST_WORDS = 65_536  # distinct values of a category; beyond it a column is text
MOST_WORD_CHARACTERS = 16_000_000
FEW = 20  # so few distinct values are a category, however few the rows
LONG_WORD = 100  # mean characters of a value; longer ones are prose


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
        self._text: Text | None = None
        self._rows, self._counts = 0, np.zeros(1, np.int64)  # first of what is missing, then of each code

    def add(self, values: Sequence[str | None]) -> None:
        """Takes a piece of rows; None and the missing words are missing."""
        if self._text is not None:
            self._rows += len(values)
            self._text.add([None if value in self._missing else value for value in values])
            return
        self._take(np.fromiter(map(self._vocabulary.__getitem__, values), np.int32, len(values)))

    def _take(self, codes: Codes) -> None:
        self._rows += len(codes)
        counts = np.bincount(codes + 1, minlength=len(self._vocabulary.words) + 1)
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._pieces.append(self._spool.add(codes))
        if len(self._vocabulary.words) > MOST_WORDS or self._vocabulary.characters > MOST_WORD_CHARACTERS:
            self._text = self._decoded()

    def add_coded(self, codes: Codes, words: Sequence[str]) -> None:
        """The same from a place in `words` for each row."""
        if self._text is not None:
            self.add([words[code] for code in codes.tolist()])
            return
        known = np.fromiter(map(self._vocabulary.__getitem__, words), np.int32, len(words))
        self._take(known.take(codes))

    def skip(self, rows: int) -> None:
        """Takes `rows` missing rows."""
        if rows:
            self.add([None] * rows)

    def _decoded(self) -> Text:
        text, words = Text(self._spool), [*self._vocabulary.words, None]  # code -1 finds the last
        for piece in self._pieces:
            text.add([words[code] for code in self._spool.get(piece).tolist()])
        return text

    def finish(self, name: str, wish: str | None = None) -> Finished:
        """The column as the category or text that it is to be, else by what it holds."""
        if self._text is not None and wish == "category":
            message = f"column {name!r} has more than {MOST_WORDS:,} different words: too many for a category"
            raise refusal([Fault("/types", "too_many_words", message, "let it be text")])
        if self._text is not None:
            return self._text.finish(name)
        words, counts = self._vocabulary.words, self._counts[1:]
        present = int(counts.sum())
        few = len(words) <= max(FEW, present // 2)
        long = sum(map(len, words)) > LONG_WORD * max(1, len(words))
        if wish == "text" or (wish is None and (not few or long)):
            found = self._decoded().finish(name)
        else:
            found = self._category(name, words, counts, present)
        return replace(found, warnings=looks(name, words, counts)) if wish is None else found

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
        return Finished(description, streams)
