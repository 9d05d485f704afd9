"""Reads Parquet and Arrow (IPC files, Feather, IPC streams), decoded by a process apart: arrow_pieces.py."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from service.data.place import pointer
from service.data.readers import Read
from service.data.readers.inflated import plain
from service.data.readers.lists import add_lists, add_steps
from service.data.readers.table import Table
from service.data.source import Source, check_names, oversized, unusable
from service.data.spool import Spool
from service.errors import Fault, InvalidData, MissingExtra, RequestError

PARQUET_MAGIC = b"PAR1"
ARROW_MAGICS = (b"ARROW1", b"\xff\xff\xff\xff")  # a file's, and the mark before a stream's first message
_PROGRAM = Path(__file__).with_name("arrow_pieces.py")
_LINE_BYTES = 1 << 28
_NONE: frozenset[str] = frozenset()  # in Arrow only null is missing


def read_arrow(sources: Sequence[Source], spool: Spool) -> Read:
    """Files of the same columns, one after the other. Raises InvalidData naming the column, TooLarge, MissingExtra."""
    if find_spec("pyarrow") is None:
        message, hint = "this server cannot read Parquet and Arrow", 'install the extra: pip install "netwright[data]"'
        raise MissingExtra(message, hint=hint, faults=[Fault("/file", "missing_extra", message, hint)])
    table, schema = Table(spool, _NONE, wishes=sources[0].wishes.types), None
    for source in sources:
        with _decoder(source, spool) as pieces:
            found = _line(pieces, source)
            if schema is not None and found["schema"] != schema:
                message = f"{source.name} has other columns than the first file"
                raise unusable("other_columns", message, "upload it apart")
            schema = found["schema"]
            check_names(found["names"], source.name)
            while "end" not in (piece := _line(pieces, source)):
                _add(piece, pieces, table)
    if not table.rows:
        raise unusable("no_rows", "there are no rows")
    return table.rows, table.finish(), []


@contextmanager
def _decoder(source: Source, spool: Spool) -> Iterator[IO[bytes]]:
    """What a process that decodes the file writes; it is gone afterwards."""
    with plain(source, spool) as file:
        size = os.fstat(file.fileno()).st_size
        limits = (source.limits.columns, source.limits.rows, source.limits.inflated(size))
        process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), f"/dev/fd/{file.fileno()}", *map(str, limits)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[file.fileno()],
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            process.kill()


def _line(pieces: IO[bytes], source: Source) -> dict[str, Any]:
    """The next line. Raises what the process refused, or that it died."""
    line = pieces.readline(_LINE_BYTES)
    if not line.endswith(b"\n"):
        message = f"{source.name}: the file cannot be read: decoding it crashed, or took too much memory"
        raise unusable("damaged", message)
    found: dict[str, Any] = json.loads(line)
    if "fault" in found:
        raise _refused(source, **found["fault"])
    return found


def _refused(source: Source, code: str, message: str, hint: str | None, places: list[str]) -> RequestError:
    words = f"{source.name}: {message}"
    if code == "too_large":
        return oversized(words)
    faults = [Fault(pointer("columns", place), code, words, hint) for place in places]
    return InvalidData(words, hint=hint, faults=faults or [Fault("/file", code, words, hint)])


def _add(piece: dict[str, Any], pieces: IO[bytes], table: Table) -> None:
    rows = piece["rows"]
    for column in piece["columns"]:
        name, words = column["name"], column.get("words")
        if "lists" in column:
            _add_lists(column, rows, pieces, table)
        elif words is None:
            table.add_numbers(name, np.frombuffer(pieces.read(rows * 8), np.float64))
        else:
            codes = np.frombuffer(pieces.read(rows * 4), np.int32)
            words.append(None)  # code -1 finds it
            table.add_words(name, [words[code] for code in codes.tolist()])
    table.end_piece(rows)


def _add_lists(column: dict[str, Any], rows: int, pieces: IO[bytes], table: Table) -> None:
    name, told = column["name"], column["lists"]
    if isinstance(told, list):
        add_lists(table, name, told)
        return
    width: list[int] = [] if told["width"] is None else [told["width"]]
    lengths = np.frombuffer(pieces.read(rows * 8), np.int64)
    numbers = np.frombuffer(pieces.read(told["steps"] * math.prod(width) * 8), told["dtype"])
    add_steps(table, name, numbers.reshape(-1, *width), lengths)
