"""Reads CSV: separated by comma, semicolon, tab or bar; quoted fields; numbers, categories, text; missing values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice

import numpy as np

from service.data.columns import MISSING, is_number, zeros_ahead
from service.data.place import MOST_FAULTS, pointer, refusal, row_words
from service.data.readers import Read
from service.data.readers.csv_ahead import WIDE, Piece, pieces
from service.data.readers.csv_fast import Coded, Cut, Hint
from service.data.readers.table import Table
from service.data.source import Source, check_names, oversized, unusable
from service.data.spool import Spool
from service.data.statistics import Floats
from service.errors import Fault, InvalidData

DELIMITERS = ",;\t|"
SNIFFED_LINES = 20
SNIFFED_BYTES = 1 << 16

Rows = list[list[str]]


@dataclass(frozen=True)
class Head:
    """What the first lines tell: how fields are separated, the columns' names, and whether a line names them."""

    delimiter: str
    names: list[str]
    header: bool
    warnings: list[str]
    hints: list[Hint]  # of what the columns look like


def read_csv(sources: Sequence[Source], spool: Spool) -> Read:
    """Raises InvalidData naming row and column, TooLarge."""
    head = read_head(sources[0])
    wishes = sources[0].wishes.types
    table = _pass(sources, head, Table(spool, MISSING, wishes=wishes))
    if table.again:  # a word came late in a column of numbers: its spelling is needed from the start
        spool.clear()
        table = _pass(sources, head, Table(spool, MISSING, frozenset(table.again), wishes))
    if not table.rows:
        raise unusable("no_rows", f"{sources[0].name} has a header but no rows")
    return table.rows, table.finish(), head.warnings


def _pass(sources: Sequence[Source], head: Head, table: Table) -> Table:
    for source in sources:
        _read_one(source, head, table)
    return table


def _read_one(source: Source, head: Head, table: Table) -> None:
    rest, first, fresh = b"", 1, head.header
    hints = partial(table.hints, head.names, head.hints)
    for piece in pieces(source, head.delimiter, len(head.names), hints, header=head.header):
        columns = None if rest else piece.columns(hints())
        if columns is not None and fresh:
            _drop_header(source, _records(source, piece.found.header, 1, 0, head) or [], head)
            fresh = False
        if columns is not None:
            table.begin_piece(cache(partial(_piece_lines, source, piece, head)))
            _add_columns(table, head.names, columns)
            _check_rows(source, table)
            continue
        text, first = rest + piece.block(), piece.line() - rest.count(b"\n")
        rows = _records(source, text, first, table.rows, head)
        if rows is None:  # a quoted field goes on in the next block
            rest = text
            continue
        if fresh:
            first += _drop_header(source, rows, head)
        rest, fresh = b"", False
        _check_lengths(rows, head.names, table.rows, first)
        table.begin_piece(cache(partial(_row_lines, rows, first)))
        _add(table, head.names, [row for row in rows if row])
        _check_rows(source, table)
    if rest:
        _records(source, rest, first, table.rows, head, last=True)


def _check_rows(source: Source, table: Table) -> None:
    if table.rows > source.limits.rows:
        raise oversized(f"{source.name} has more than {source.limits.rows:,} rows")


def _records(source: Source, text: bytes, line: int, before: int, head: Head, *, last: bool = False) -> Rows | None:
    """The block's records, blank lines as empty ones; None when it ends inside of quotes and is not the `last`."""
    reader = csv.reader(io.StringIO(text.decode(), newline=""), delimiter=head.delimiter, strict=True)
    rows: Rows = []
    try:
        rows.extend(reader)  # what came before an error stays in `rows`
    except csv.Error as error:
        if "unexpected end" in str(error) and not last:
            return None
        row = before + sum(map(bool, rows)) - (head.header and line == 1)
        raise _bad_quoting(source, row, line + sum(map(_lines, rows)), str(error)) from error
    return rows


def _lines(row: list[str]) -> int:
    """How many lines of the file a record takes."""
    return 1 + sum(value.count("\n") for value in row)


def _row_lines(rows: Rows, line: int) -> list[int]:
    """Where each row begins; blank lines are none."""
    begins = []
    for row in rows:
        if row:
            begins.append(line)
        line += _lines(row)
    return begins


def _piece_lines(source: Source, piece: Piece, head: Head) -> list[int]:
    """The same of a block that pyarrow has cut: without the names, if they are in it."""
    names = piece.found.header
    line = piece.line() + names.count(b"\n")
    return _row_lines(_records(source, piece.block()[len(names) :], line, 0, head) or [], line)


def _add(table: Table, names: list[str], rows: Rows) -> None:
    for name, values in zip(names, zip(*rows, strict=True), strict=False):
        found = None if table.wants_words(name) else floats(values)
        if found is None:
            table.add_words(name, list(map(str.strip, values)))
        else:
            table.add_numbers(name, found)
    table.end_piece(len(rows))


def _add_columns(table: Table, names: list[str], columns: Cut) -> None:
    """As `_add`, of a block that pyarrow has cut."""
    for name, found in zip(names, columns, strict=True):
        if not isinstance(found, Coded):
            table.add_numbers(name, found)
        elif (numbers := None if table.wants_words(name) else floats(found.words)) is not None:
            table.add_numbers(name, numbers[found.codes])
        else:
            table.add_coded(name, found.codes, [word.strip() for word in found.words])
    first = columns[0]
    table.end_piece(len(first.codes) if isinstance(first, Coded) else len(first))


def floats(values: Sequence[str]) -> Floats | None:
    """The values as numbers, NaN where missing; None when one of them is a word, or begins with 0 as 02134 does."""
    try:
        found = np.fromiter(map(float, values), np.float64, len(values))
    except ValueError:
        try:
            found = np.fromiter((_number(value) for value in values), np.float64, len(values))
        except ValueError:
            return None
    text = "\n".join(values)
    odd = "_" in text or not text.isascii()  # Python's float takes 1_000 and digits of other scripts
    if odd and not all(is_number(value) or value.strip() in MISSING for value in values):
        return None
    return None if len(zeros_ahead(text.encode())) else found


def _number(value: str) -> float:
    return np.nan if value.strip() in MISSING else float(value)


def _check_lengths(rows: Rows, names: list[str], before: int, line: int) -> None:
    """Raises InvalidData when a row has more or fewer values than there are columns; blank lines are none."""
    if set(map(len, rows)) <= {len(names), 0}:
        return
    faults, row = list[Fault](), before
    for values in rows:
        if values and len(values) != len(names):
            faults.append(_ragged(values, names, row, line))
        line += _lines(values)
        row += bool(values)
        if len(faults) == MOST_FAULTS:
            break
    raise refusal(faults)


def _ragged(values: list[str], names: list[str], row: int, line: int) -> Fault:
    short = len(values) < len(names)
    name = names[len(values)] if short else names[-1]
    where = f"column {name!r} and what follows it is missing" if short else f"too many after column {name!r}"
    message = f"{row_words(row, line)} has {len(values)} values for {len(names)} columns: {where}"
    return Fault(pointer("rows", row, name), "ragged_row", message, "quote values that contain the separator")


def _bad_quoting(source: Source, row: int, line: int, error: str) -> InvalidData:
    message = f"{source.name}: {row_words(row, line)} cannot be read: {error}"
    return refusal([Fault(pointer("rows", row), "bad_quoting", message, "check the quotes of this row")])


def _drop_header(source: Source, rows: Rows, head: Head) -> int:
    """Takes the line of names off `rows`; returns how many lines went."""
    at = next((at for at, row in enumerate(rows) if row), 0)
    found, _ = _named(rows[at] if rows else [])
    if found != head.names:
        raise unusable("other_columns", f"{source.name} names other columns than the first file", "upload it apart")
    lines = sum(map(_lines, rows[: at + 1]))
    del rows[: at + 1]
    return lines


def read_head(source: Source) -> Head:
    """Looks at the first lines. Raises InvalidData when there are none, TooLarge when there are too many columns."""
    block, _ = next(source.line_blocks(), (b"", 1))
    if not block.strip():
        raise unusable("empty", f"{source.name} is empty")
    first = block[: block.find(b"\n") + 1] or block
    if max(first.count(mark.encode()) for mark in DELIMITERS) >= source.limits.columns:
        raise oversized(f"{source.name} has more than {source.limits.columns:,} columns")
    text = block[: max(SNIFFED_BYTES, len(first))].decode(errors="ignore")
    lines = [line for line in islice(io.StringIO(text, newline=""), SNIFFED_LINES) if line.strip()]
    delimiter = _delimiter(lines)
    rows = _parsed(lines, delimiter)
    header = _is_header(rows)
    names, warnings = _named(rows[0]) if header else ([f"column_{n + 1}" for n in range(len(rows[0]))], [])
    check_names(names, source.name)
    wide = len(names) >= WIDE
    hints = [_hint(values, wide) for values in zip(*rows[header:], strict=False)]
    return Head(delimiter, names, header, warnings, hints)


def _hint(values: Sequence[str], wide: bool) -> Hint:
    """What a column looks like; bytes only in a wide table, for a wrong guess costs cutting the first blocks twice."""
    if wide and all(value.isdecimal() and len(value) <= 3 and int(value) < 256 for value in values):
        return "byte"
    return "word" if floats(values) is None else "number"


def _delimiter(lines: list[str]) -> str:
    """The separator that cuts all first lines into the same number of fields, and into most of them."""

    def fit(mark: str) -> tuple[bool, int]:
        widths = [len(row) for row in _parsed(lines, mark)]
        return min(widths) == max(widths) and widths[0] > 1, widths[0]

    return max(DELIMITERS, key=fit)  # the first of equals: a comma


def _parsed(lines: list[str], delimiter: str) -> Rows:
    rows: Rows = []
    with suppress(csv.Error):  # the sample may end within quotes; the reading itself will tell
        rows.extend(row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row)
    return rows or [lines[0].split(delimiter)]


def _is_header(rows: Rows) -> bool:
    """Names are no numbers and not missing; they stand over numbers, or do not come back in their own columns."""
    first, rest = [value.strip() for value in rows[0]], rows[1:]
    if any(is_number(value) for value in first) or not any(first):
        return False
    if any(value in MISSING and value for value in first):
        return False
    if any(_numbers(row[at].strip() for row in rest if at < len(row)) for at in range(len(first))):
        return True  # one of the classes may be called as their column is
    return not any(
        value and value == row[at].strip() for row in rest for at, value in enumerate(first) if at < len(row)
    )


def _numbers(values: Iterable[str]) -> bool:
    """Whether what is there is numbers, one at least."""
    told = [value for value in values if value not in MISSING]
    return bool(told) and all(map(is_number, told))


def _named(values: list[str]) -> tuple[list[str], list[str]]:
    """The columns' names, each once, and warnings of those that had to be made."""
    names, warnings, taken = list[str](), list[str](), set[str]()
    for at, value in enumerate(values):
        wanted = value.strip() or f"column_{at + 1}"
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        if name != value.strip():
            why = "occurs twice" if value.strip() else "is empty"
            warnings.append(f"the name of column {at + 1} {why}: it is called {name!r}")
        taken.add(name)
        names.append(name)
    return names, warnings
