"""A table being read: its columns grow piece by piece, each as what its values turn out to be."""

from __future__ import annotations

from collections.abc import Sequence

from service.data.columns import Arrays, Finished, Numbers, Words
from service.data.place import pointer, refusal, row_words
from service.data.spool import Spool
from service.data.statistics import Floats
from service.errors import Fault, InvalidData
from service.tensors import Array


class Table:
    """Columns by name, in the order they were first seen; every piece adds the same rows to each.

    A column of numbers that meets a word cannot give its numbers' spelling back: its name goes to `again`, nothing
    more of it is kept, and the file is read once more with that name in `words`.
    """

    def __init__(self, spool: Spool, missing: frozenset[str], words: frozenset[str] = frozenset()) -> None:
        self._spool, self._missing, self._words = spool, missing, words
        self._columns: dict[str, Numbers | Words | Arrays] = {}
        self.again: set[str] = set()
        self.rows = 0

    @property
    def names(self) -> list[str]:
        """The columns so far."""
        return list(self._columns)

    def wants_words(self, name: str) -> bool:
        """Whether the next piece of a column must come as words, numbers or not."""
        return name in self._words or name in self.again or isinstance(self._columns.get(name), Words)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a row of a column of arrays; None when it is not one."""
        column = self._columns.get(name)
        return column.shape if isinstance(column, Arrays) else None

    def add_numbers(self, name: str, values: Floats) -> None:
        """The next piece of a column, as numbers; NaN is missing."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Numbers(self._spool)
            column.skip(self.rows)
        if not isinstance(column, Numbers):
            raise self._clash(name, "a number or nothing")
        column.add(values)

    def add_words(self, name: str, values: Sequence[str | None]) -> None:
        """The next piece of a column, as words; None is missing."""
        column = self._columns.get(name)
        if name in self.again or (isinstance(column, Numbers) and not column.empty):
            self.again.add(name)
            return
        if isinstance(column, Arrays):
            raise self._clash(name, "a word")
        if not isinstance(column, Words):
            column = self._columns[name] = Words(self._spool, self._missing)
            column.skip(self.rows)
        column.add(values)

    def add_arrays(self, name: str, values: Array) -> None:
        """The next piece of a column, as arrays. values: (rows, ...)."""
        column = self._columns.get(name)
        if column is None and not self.rows:
            column = self._columns[name] = Arrays(self._spool, values.shape[1:], native=False)
        if not isinstance(column, Arrays):
            raise self._clash(name, "a list")
        column.add(values)

    def end_piece(self, rows: int) -> None:
        """Every column has got its next `rows` rows."""
        self.rows += rows

    def finish(self) -> list[Finished]:
        """All columns, as they will be written."""
        return [column.finish(name) for name, column in self._columns.items()]

    def _clash(self, name: str, what: str) -> InvalidData:
        message = (
            f"{row_words(self.rows)} or soon after, column {name!r}: {what}, where rows before hold something else"
        )
        return refusal([Fault(pointer("rows", self.rows, name), "mixed_types", message)])
