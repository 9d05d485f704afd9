"""Reads JSON lines, a JSON array, or rows at hand: objects by column name, or arrays of values in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import chain

import numpy as np
import pydantic_core

from service.data.place import MOST_FAULTS, pointer, refusal, row_words, shown
from service.data.readers import Read
from service.data.readers.lists import add_lists, odd
from service.data.readers.table import Lines, Table
from service.data.source import NO_WISHES, Source, check_names, oversized, unusable
from service.data.spool import Spool
from service.data.statistics import Floats
from service.data.wishes import Wishes
from service.errors import Fault, InvalidData

Rows = list[object]
Piece = tuple[Rows, Lines | None]
_NONE: frozenset[str] = frozenset()  # in JSON only null is missing
_NUMBERS = {int, float, type(None)}
_WORDS = {str, bool, *_NUMBERS}


def read_json_lines(sources: Sequence[Source], spool: Spool) -> Read:
    """A row a line. Raises InvalidData naming row and column, TooLarge."""
    first = sources[0]
    return _read(lambda: chain.from_iterable(map(_line_pieces, sources)), spool, first.limits.columns, first.wishes)


def read_json_array(sources: Sequence[Source], spool: Spool) -> Read:
    """A file is one array of rows, held whole. Raises InvalidData naming row and column, TooLarge."""
    pieces: list[Piece] = [(_array(source), None) for source in sources]
    return _read(lambda: iter(pieces), spool, sources[0].limits.columns, sources[0].wishes)


def read_rows(rows: Rows, spool: Spool, most_columns: int) -> Read:
    """Rows at hand. Raises InvalidData naming row and column."""
    return _read(lambda: iter([(rows, None)]), spool, most_columns)


def _read(pieces: Callable[[], Iterator[Piece]], spool: Spool, most_columns: int, wishes: Wishes = NO_WISHES) -> Read:
    table = _pass(pieces(), Table(spool, _NONE, wishes=wishes.types), most_columns)
    if table.again:  # a word came late in a column of numbers: its spelling is needed from the start
        spool.clear()
        table = _pass(pieces(), Table(spool, _NONE, frozenset(table.again), wishes.types), most_columns)
    if not table.rows:
        raise unusable("no_rows", "there are no rows")
    return table.rows, table.finish(), []


def _pass(pieces: Iterator[Piece], table: Table, most_columns: int) -> Table:
    for rows, lines in pieces:
        if lines is not None:
            table.begin_piece(lines)
        columns = _columns(rows, table)
        if len(columns) > most_columns:
            raise oversized(f"there are more than {most_columns:,} columns")
        for name, values in columns.items():
            _add(table, name, values)
        table.end_piece(len(rows))
    return table


def _columns(rows: Rows, table: Table) -> dict[str, Rows]:
    """The rows turned into columns: by key, a missing key being null; or by place, called column_1, column_2, ..."""
    kinds = set(map(type, rows))
    if kinds == {dict}:
        names: dict[str, None] = dict.fromkeys(table.names)
        for row in rows:
            names.update(dict.fromkeys(row))  # type: ignore[call-overload]
        check_names(names.keys() - set(table.names), "a row")
        return {name: [row.get(name) for row in rows] for name in names}  # type: ignore[attr-defined]
    if kinds == {list}:
        width = len(table.names) or len(rows[0])  # type: ignore[arg-type]
        _check_widths(rows, width, table.rows)
        return {f"column_{at + 1}": list(values) for at, values in enumerate(zip(*rows, strict=True))}
    first = dict if isinstance(rows[0], dict) else list
    at = next(at for at, row in enumerate(rows) if type(row) is not first)
    message = (
        f"{row_words(table.rows + at)}: expected {'an object' if first is dict else 'an array'} like the first row"
    )
    raise refusal([Fault(pointer("rows", table.rows + at), "not_a_row", f"{message}, got {shown(rows[at])}")])


def _check_widths(rows: Rows, width: int, before: int) -> None:
    wrong = [(before + at, len(row)) for at, row in enumerate(rows) if len(row) != width]  # type: ignore[arg-type]
    if wrong:
        raise refusal(
            [
                Fault(pointer("rows", row), "ragged_row", f"{row_words(row)} has {found} values for {width} columns")
                for row, found in wrong[:MOST_FAULTS]
            ]
        )


def _add(table: Table, name: str, values: Rows) -> None:
    kinds = set(map(type, values))
    if table.step(name) is not None or (list in kinds and type(values[0]) in {list, type(None)}):
        add_lists(table, name, values)
    elif kinds <= _NUMBERS and not table.wants_words(name):
        table.add_numbers(name, _numbers(values, name, table.rows))
    elif kinds <= _WORDS:
        table.add_words(name, [_word(value) for value in values])
    else:
        at = next(at for at, value in enumerate(values) if type(value) not in _WORDS or list in kinds)
        if list in kinds:
            at = next(at for at, value in enumerate(values) if type(value) is not type(values[0]))
        raise odd(table.rows + at, name, f"a number, a word or a list as in other rows, got {shown(values[at])}")


def _numbers(values: Rows, name: str, before: int) -> Floats:
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except OverflowError:
        at = next(at for at, value in enumerate(values) if isinstance(value, int) and abs(value) >= 1 << 1023)
        raise odd(before + at, name, "a number within float64's range") from None


def _word(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _line_pieces(source: Source) -> Iterator[Piece]:
    before = 0
    for block, line in source.line_blocks():
        lines = [text for text in block.split(b"\n") if text.strip()]
        rows = _parsed(b"[" + b",".join(lines) + b"]")
        if rows is None or len(rows) != len(lines):
            raise _bad_line(source, block, before, line)
        before += len(rows)
        if rows:
            yield rows, cache(partial(_row_lines, block, line))


def _row_lines(block: bytes, line: int) -> list[int]:
    return [number for number, text in enumerate(block.split(b"\n"), line) if text.strip()]


def _parsed(text: bytes) -> Rows | None:
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)  # type: ignore[no-any-return]
    except ValueError:
        return None


def _bad_line(source: Source, block: bytes, row: int, line: int) -> InvalidData:
    """Finds the line that is no JSON value of its own."""
    for number, text in enumerate(block.split(b"\n"), line):
        if not text.strip():
            continue
        try:
            pydantic_core.from_json(text, allow_inf_nan=False)
        except ValueError as error:
            message = f"{source.name}: {row_words(row, number)} is not JSON: {str(error)[:100]}"
            return refusal([Fault(pointer("rows", row), "not_json", message)])
        row += 1
    return unusable("not_json", f"{source.name} is not JSON lines")


def _array(source: Source) -> Rows:
    parts, size = list[bytes](), 0
    for block in source.blocks():
        size += len(block)
        if size > source.limits.array_json_bytes:
            hint = "send JSON lines: one row a line, no brackets around"
            raise oversized(f"{source.name}: a JSON array longer than {source.limits.array_json_bytes:,} bytes", hint)
        parts.append(block)
    try:
        rows = pydantic_core.from_json(b"".join(parts), allow_inf_nan=False)
    except ValueError as error:
        raise unusable("not_json", f"{source.name} is not JSON: {str(error)[:100]}") from error
    if not isinstance(rows, list) or not rows:
        raise unusable("no_rows", f"{source.name}: expected a JSON array with rows", '[{"a": 1, "label": "x"}, ...]')
    return rows
