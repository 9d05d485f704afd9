"""Collects everything that is wrong, so that all of it is told at once."""

from __future__ import annotations

from typing import Any

from service.data.place import place_words, pointer, sent_row
from service.errors import Fault, InvalidData, InvalidSpec, did_you_mean

MOST_FAULTS = 50
_GAP = "send null for a missing value"


class SpecFaults:
    """Faults found so far; all are told at once."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, place: str, code: str, message: str, hint: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        self.found.append(Fault(place, code, message, hint, allowed))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidSpec(self.found[0].message, hint=self.found[0].hint, faults=self.found)


class RowFaults:
    """Faults found so far, by row and column."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.found: list[Fault] = []

    def add(
        self, row: int, name: str | None, code: str, message: str, hint: str | None = None, at: tuple[int, ...] = ()
    ) -> None:
        """One thing wrong in a row, or in one column of it, or at a step and number of a sequence."""
        if len(self.found) < MOST_FAULTS:
            parts: list[str | int] = [row] if name is None else [row, name]
            where = sent_row(row) if name is None else f"{sent_row(row)}, column {name!r}"
            message = f"{where}{place_words(at)}: {message}"
            self.found.append(Fault(self._place + pointer(*parts, *at), code, message, hint))

    def raise_any(self) -> None:
        """Raises InvalidData with all faults, if there are any."""
        if self.found:
            raise InvalidData(self.found[0].message, hint=self.found[0].hint, faults=self.found)


def check_keys(
    at: int, row: dict[str, Any], names: list[str], known: frozenset[str], faults: RowFaults, hint: str = _GAP
) -> None:
    """Every wanted name is there, and no name that the data set does not know."""
    for name in names:
        if name not in row:
            faults.add(at, name, "missing_column", "expected a value, got none", hint)
    for name in row:
        if name not in known:
            hint = did_you_mean(str(name), names) or f"the columns are {', '.join(names[:10])}"
            faults.add(at, str(name)[:100], "unknown_column", "no such column", hint)
