"""A table being read: its columns grow piece by piece, each as what its values turn out to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from service.data.columns import MISSING, Arrays, Finished, Numbers, Sequences, Words, is_number, number_text
from service.data.columns.words import Codes
from service.data.place import MOST_FAULTS, pointer, refusal, row_words, shown
from service.data.readers.csv_fast import Hint
from service.data.spool import Spool
from service.data.statistics import Bytes, Floats
from service.data.wishes import WishedType, seconds
from service.errors import Fault, InvalidData, did_you_mean
from service.tensors import Array

Column = Numbers | Words | Arrays | Sequences
Lines = Callable[[], Sequence[int]]
"""The line of the file on which each row of a piece begins; asked for when one of them has a fault."""
_NO_WISHES: Mapping[str, WishedType] = {}
MOST_AXES = 2  # of a row that is a sequence: time, and the numbers of a step
_TYPE_HINT = "mend the value, leave it empty, or ask for another type of the column"


def _number(word: str) -> float:
    if not is_number(word):
        raise ValueError(word)
    return float(word)


class Table:
    """Columns by name, in the order they were first seen; every piece adds the same rows to each.

    A column of numbers that meets a word cannot give its numbers' spelling back: its name goes to `again`, nothing
    more of it is kept, and the file is read once more with that name in `words`.
    """

    def __init__(
        self, spool: Spool, missing: frozenset[str], words: frozenset[str] = frozenset(),
        wishes: Mapping[str, WishedType] = _NO_WISHES,
    ) -> None:  # fmt: skip
        self._spool, self._missing, self._words, self._wishes = spool, missing, words, wishes
        self._columns: dict[str, Column] = {}
        self.again: set[str] = set()
        self.faults: list[Fault] = []
        self.rows = 0
        self._lines: Lines | None = None

    @property
    def names(self) -> list[str]:
        """The columns so far."""
        return list(self._columns)

    def wants_words(self, name: str) -> bool:
        """Whether the next piece of a column must come as words, numbers or not."""
        wanted = name in self._words or self._wishes.get(name) in {"category", "text", "date"}
        return wanted or name in self.again or isinstance(self._columns.get(name), Words)

    def hints(self, names: Sequence[str], looks: Sequence[Hint]) -> list[Hint]:
        """What the columns have held so far, and may; before that what they look like, as far as `looks` says."""
        missing: list[Hint] = ["word"] * (len(names) - len(looks))
        return [self._hint(name, look) for name, look in zip(names, [*looks, *missing], strict=False)]

    def _hint(self, name: str, look: Hint) -> Hint:
        if self.wants_words(name):
            return "word"
        column = self._columns.get(name)
        return look if not isinstance(column, Numbers) else "byte" if column.bytes else "number"

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a row of a column of arrays; None when it is not one."""
        column = self._columns.get(name)
        return column.shape if isinstance(column, Arrays) else None

    def step(self, name: str) -> tuple[int, ...] | None:
        """The shape of a step of the rows of a column of lists; None when it is not one."""
        column = self._columns.get(name)
        if isinstance(column, Arrays):
            return column.shape[1:]
        return column.step if isinstance(column, Sequences) else None

    def begin_piece(self, lines: Lines) -> None:
        """Where the next rows stand in their file; where nobody says it, faults name the row alone."""
        self._lines = lines

    def add_numbers(self, name: str, values: Floats | Bytes) -> None:
        """The next piece of a column, as numbers; NaN is missing."""
        if self._wishes.get(name) in {"category", "text"}:
            self.add_words(name, [None if np.isnan(value) else number_text(value) for value in values.tolist()])
            return
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Numbers(self._spool)
            column.skip(self.rows)
        if not isinstance(column, Numbers):
            raise self._clash(name, "a number or nothing")
        column.add(values)

    def add_words(self, name: str, values: Sequence[str | None]) -> None:
        """The next piece of a column, as words; None is missing."""
        if (wish := self._wishes.get(name)) in {"number", "date"}:
            self.add_numbers(name, self._converted(name, values, _number if wish == "number" else seconds))
            return
        column = self._column_of_words(name)
        if column is not None:
            column.add(values)

    def add_coded(self, name: str, codes: Codes, words: Sequence[str]) -> None:
        """The same from a place in `words` for each row."""
        if self._wishes.get(name) in {"number", "date"}:
            self.add_words(name, [words[code] for code in codes.tolist()])
            return
        column = self._column_of_words(name)
        if column is not None:
            column.add_coded(codes, words)

    def _column_of_words(self, name: str) -> Words | None:
        """The column that takes words; None when it has held numbers and is read again."""
        column = self._columns.get(name)
        if name in self.again or (isinstance(column, Numbers) and not column.empty):
            self.again.add(name)
            return None
        if isinstance(column, Arrays | Sequences):
            raise self._clash(name, "a word")
        if not isinstance(column, Words):
            column = self._columns[name] = Words(self._spool, self._missing)
            column.skip(self.rows)
        return column

    def add_arrays(self, name: str, values: Array) -> None:
        """The next piece of a column, as arrays. values: (rows, ...)."""
        column = self._columns.get(name)
        if column is None and not self.rows:
            column = self._columns[name] = Arrays(self._spool, values.shape[1:], native=False)
        if not isinstance(column, Arrays):
            raise self._clash(name, "a list")
        column.add(values)

    def add_sequences(self, name: str, steps: Array, lengths: Array) -> None:
        """The next piece of a column, as rows of so many steps each. steps: (total, *step); lengths: (rows,)."""
        column = self._columns.get(name)
        if column is None and not self.rows:
            column = Sequences(self._spool, Arrays(self._spool, steps.shape[1:], native=False))
        elif isinstance(column, Arrays):
            column = Sequences.of(self._spool, column)
        if not isinstance(column, Sequences):
            raise self._clash(name, "a list")
        self._columns[name] = column
        column.add(steps, lengths)

    def end_piece(self, rows: int) -> None:
        """Every column has got its next `rows` rows. Raises InvalidData when there are enough faults to tell."""
        self.rows += rows
        self._lines = None
        if len(self.faults) >= MOST_FAULTS:
            raise refusal(self.faults)

    def finish(self) -> list[Finished]:
        """All columns, as they will be written."""
        if self.faults:
            raise refusal(self.faults)
        unknown = [name for name in self._wishes if name not in self._columns]
        faults = [Fault("/types", "no_such_column", f"types: there is no column {name[:100]!r}",
                        did_you_mean(name, self.names)) for name in unknown]  # fmt: skip
        if faults:
            raise refusal(faults)
        return [self._finished(name, column) for name, column in self._columns.items()]

    def _finished(self, name: str, column: Column) -> Finished:
        wish = self._wishes.get(name)
        if wish == "sequence":
            return self._sequences(name, column).finish(name)
        if isinstance(column, Words):
            return column.finish(name, wish if wish in {"category", "text"} else None)
        if wish is not None and isinstance(column, Arrays | Sequences):
            raise refusal([Fault("/types", "mixed_types", f"types: column {name!r} holds lists, which stay lists")])
        return column.finish(name)

    def _sequences(self, name: str, column: Column) -> Sequences:
        """Rows of one length as sequences, for a model that is to take any. Raises InvalidData for others."""
        if isinstance(column, Arrays) and 1 <= len(column.shape) <= MOST_AXES:
            return Sequences.of(self._spool, column)
        if not isinstance(column, Sequences):
            message = f"types: column {name!r} holds no sequences: lists of numbers, or lists of lists of numbers"
            raise refusal([Fault("/types", "mixed_types", message)])
        return column

    def _converted(self, name: str, values: Sequence[str | None], convert: Callable[[str], float]) -> Floats:
        """Words as the numbers that they were said to be. Raises InvalidData naming row, line and column."""
        found, wrong = np.full(len(values), np.nan), list[int]()
        for at, word in enumerate(values):
            if word is None or word.strip() in MISSING:
                continue
            try:
                found[at] = convert(word.strip())
            except (ValueError, OverflowError):
                wrong.append(at)
                if len(wrong) == MOST_FAULTS:
                    break
        if wrong:
            expected = "a number" if convert is _number else "an ISO date such as 2024-02-29 or 2024-02-29T12:00:00Z"
            raise refusal([self._unlike(name, at, expected, values[at]) for at in wrong])
        return found

    def _unlike(self, name: str, at: int, expected: str, word: str | None) -> Fault:
        row, line = self.rows + at, None if self._lines is None else self._lines()[at]
        words = f"{row_words(row, line)}, column {name!r}: expected {expected}, got {shown(word)}"
        return Fault(pointer("rows", row, name), "wrong_type", words, _TYPE_HINT)

    def _clash(self, name: str, what: str) -> InvalidData:
        message = (
            f"{row_words(self.rows)} or soon after, column {name!r}: {what}, where rows before hold something else"
        )
        return refusal([Fault(pointer("rows", self.rows, name), "mixed_types", message)])
