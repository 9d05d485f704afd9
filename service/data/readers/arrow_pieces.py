"""A program of its own that decodes Parquet and Arrow into plain pieces on its standard output; see arrow.py.

A damaged or hostile file can make the decoder crash or ask for all memory there is: that ends this process, not the
server. Each piece is a line of JSON, `{"rows": n, "columns": [{"name", "words": [...] | null}, ...]}`, followed by
each column's n values: float64, or int32 places in `words`, -1 where missing. A column of lists of numbers says
`"lists": {steps, width, dtype}`, followed by how many steps each row has (int64) and the numbers of all steps; where
something is wrong in them, `"lists": [...]` are the rows themselves. The last line is `{"end": true}`, or `{"fault":
{code, message, hint, places}}`.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MEMORY_BYTES = 1 << 30
PIECE_ROWS, PIECE_BYTES = 1 << 14, 1 << 24
_TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAY_S = 86_400.0
_DECODED_BYTES = 1 << 26  # of a Parquet file's rows at once
_MOST_NUMBERS = 1 << 25  # of one row, or of as many as are PIECE_BYTES
_LONG_WORD = 100  # bytes; a column of longer ones is text


class Refusal(Exception):  # noqa: N818 - as in service.errors
    """What is told instead of the rest."""

    def __init__(self, code: str, message: str, hint: str | None = None, places: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.told = {"code": code, "message": message, "hint": hint, "places": places}


class Reader:
    """The batches of one file, of whichever of the three kinds; their rows and bytes are counted against limits."""

    def __init__(self, path: str, most_rows: int, most_bytes: int) -> None:
        self._most_rows, self._most_bytes = most_rows, most_bytes
        with open(path, "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # what is not packed is never copied
        self._rows = self._size = 0
        self._packed, buffer = len(pages), pa.py_buffer(pages)
        self._read: Any
        if pages[:4] == b"PAR1":
            self._read = self._parquet(buffer)
        elif pages[:6] == b"ARROW1":
            found = pa.ipc.open_file(buffer)
            self.schema = found.schema
            self._read = (found.get_batch(at) for at in range(found.num_record_batches))
        else:
            self._read = pa.ipc.open_stream(buffer)
            self.schema = self._read.schema

    def _parquet(self, file: pa.Buffer) -> Iterator[pa.RecordBatch]:
        self.schema = pq.read_schema(pa.BufferReader(file))
        words = [field.name for field in self.schema if kind_of(field.type) == "words"]
        # words stay codes: a long word that many rows have is held once
        found = pq.ParquetFile(pa.BufferReader(file), read_dictionary=words)
        facts = found.metadata
        self._check(facts.num_rows, sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups)))
        size = sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups))
        few = max(1, min(PIECE_ROWS, _DECODED_BYTES * facts.num_rows // max(1, size)))
        batches: Iterator[pa.RecordBatch] = found.iter_batches(few, use_threads=False)
        return batches

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Pieces of at most so many rows, every offset and letter in them checked."""
        for batch in self._read:
            self._rows, self._size = self._rows + batch.num_rows, self._size + sum(map(_bytes, batch.columns))
            self._check(self._rows, self._size)
            batch.validate(full=True)
            self._size += sum(map(_repeated, batch.columns))
            self._check(self._rows, self._size)
            few = max(1, min(PIECE_ROWS, PIECE_BYTES * batch.num_rows // max(1, sum(map(_bytes, batch.columns)))))
            for start in range(0, batch.num_rows, few):
                yield batch.slice(start, few)

    def _check(self, rows: int, size: int) -> None:
        if rows > self._most_rows:
            raise Refusal("too_large", f"there are more than {self._most_rows:,} rows")
        if size > self._most_bytes:
            words = f"{self._packed:,} bytes inflate to {size:,}, more than {self._most_bytes:,}"
            raise Refusal("too_large", words)


def _bytes(values: pa.Array) -> int:
    """Of a column's values; a dictionary is shared by batches and bounded by the file."""
    return int((values.indices if pa.types.is_dictionary(values.type) else values).nbytes)


def _repeated(values: pa.Array) -> int:
    """What long words of a dictionary take where they are written out: as text, a row its own."""
    if not pa.types.is_dictionary(values.type) or kind_of(values.type) != "words":
        return 0
    counts = values.indices.drop_null().value_counts()
    sizes = pc.binary_length(values.dictionary).take(counts.field("values")).to_numpy(zero_copy_only=False)
    times = counts.field("counts").to_numpy(zero_copy_only=False)
    return int((sizes * times)[sizes > _LONG_WORD].sum())


def check_schema(schema: pa.Schema, most_columns: int) -> None:
    """Raises Refusal naming the columns that have no place in a table."""
    if len(schema) > most_columns:
        raise Refusal("too_large", f"there are more than {most_columns:,} columns")
    if len(set(schema.names)) < len(schema):
        raise Refusal("same_name", "two columns have the same name")
    odd = [field for field in schema if kind_of(field.type) is None]
    if odd:
        what = f"column {odd[0].name[:100]!r} is {str(odd[0].type)[:60]}"
        message = f"{what}: expected numbers, words, truths, times or lists of numbers"
        hint = "take the column out, or flatten it"
        raise Refusal("unsupported_type", message, hint, tuple(field.name[:100] for field in odd[:20]))


def kind_of(type: pa.DataType) -> str | None:
    """number, time, truth, words or lists; None for what is none of them."""
    types = pa.types
    if _is_list(type):
        inner = type.value_type.value_type if _is_list(type.value_type) else type.value_type
        return "lists" if types.is_integer(inner) or types.is_floating(inner) else None
    if types.is_dictionary(type):
        kind = kind_of(type.value_type)
        return kind if kind in {"words", "number"} else None
    if types.is_string(type) or types.is_large_string(type) or types.is_string_view(type):
        return "words"
    if types.is_integer(type) or types.is_floating(type) or types.is_decimal(type) or types.is_null(type):
        return "number"
    if types.is_boolean(type):
        return "truth"
    return "time" if types.is_temporal(type) and not types.is_interval(type) else None


def _is_list(type: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type))


def lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The piece that a batch is, or several when its words are many."""
    columns, values = list[dict[str, Any]](), list[bytes]()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if kind_of(column.type) == "lists":
            told, bytes_ = listed(column)
            columns.append({"name": name, "lists": told})
            values.append(bytes_)
            continue
        words, numbers = encoded(column)
        columns.append({"name": name, "words": words})
        values.append(numbers.tobytes())
    line = json.dumps({"rows": batch.num_rows, "columns": columns}, ensure_ascii=False).encode() + b"\n"
    if len(line) > PIECE_BYTES and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from lines(batch.slice(0, half))
        yield from lines(batch.slice(half))
    else:
        yield line
        yield from values


def encoded(values: pa.Array) -> tuple[list[str] | None, np.ndarray[Any, Any]]:
    """(None, numbers) or (words, codes)."""
    kind, coded = kind_of(values.type), pa.types.is_dictionary(values.type)
    if kind == "words":
        coded_values = values if coded else values.cast("large_string").dictionary_encode()
        codes = coded_values.indices.dictionary_encode()  # only the words that these rows have
        return coded_values.dictionary.take(codes.dictionary).to_pylist(), _codes(codes.indices)
    if kind == "truth":
        return ["false", "true"], _codes(values.cast("int8"))
    if kind == "time":
        return None, seconds(values)
    return None, numbers(values.dictionary_decode() if coded else values)


def listed(values: pa.Array) -> tuple[dict[str, Any] | list[Any], bytes]:
    """({steps, width, dtype}, the rows' lengths and all numbers); the rows as they are where something is wrong."""
    steps, width = values.flatten(), None
    lengths = np.asarray(pc.list_value_length(values).fill_null(0), np.int64)
    flat, whole = steps, values.null_count == 0 and lengths.all()
    if _is_list(steps.type):
        widths = pc.list_value_length(steps).unique().to_pylist()
        flat, width = steps.flatten(), widths[0] if widths else None
        whole = whole and steps.null_count == 0 and len(widths) == 1 and bool(width)
    if len(flat) > _MOST_NUMBERS:
        raise Refusal("too_large", f"rows of lists hold more than {_MOST_NUMBERS:,} numbers at once")
    dtype = "float64" if pa.types.is_floating(flat.type) or pa.types.is_uint64(flat.type) else "int64"
    found = np.asarray(flat.cast(dtype).to_numpy(zero_copy_only=False))
    if not whole or flat.null_count or not np.isfinite(found).all():
        return _told(values), b""
    return {"steps": len(steps), "width": width, "dtype": dtype}, lengths.tobytes() + found.tobytes()


def _told(values: pa.Array) -> list[Any]:
    """JSON has no words for numbers that are none: they become words."""
    rows: list[Any] = json.loads(json.dumps(values.to_pylist()), parse_constant=str)
    return rows


def _codes(values: pa.Array) -> np.ndarray[Any, Any]:
    return np.asarray(values.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)


def numbers(values: pa.Array) -> np.ndarray[Any, Any]:
    """float64, NaN where null; whole numbers beyond 2^53 are rounded, as from a CSV."""
    return np.asarray(values.cast("float64", safe=False).to_numpy(zero_copy_only=False), np.float64)


def seconds(values: pa.Array) -> np.ndarray[Any, Any]:
    """Seconds since 1970 (UTC where there is a zone), since midnight, or long; NaN where null."""
    if pa.types.is_date32(values.type):
        return numbers(values.cast("int32")) * _DAY_S
    ticks = "ms" if pa.types.is_date64(values.type) else values.type.unit
    whole = "int32" if pa.types.is_time32(values.type) else "int64"
    return numbers(values.cast(whole)) / _TICKS[ticks]


def main(path: str, most_columns: int, most_rows: int, most_bytes: int) -> None:
    """Writes the file's pieces."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    out = sys.stdout.buffer
    try:
        reader = Reader(path, most_rows, most_bytes)
        check_schema(reader.schema, most_columns)
        schema = {"schema": str(reader.schema.remove_metadata()), "names": reader.schema.names}
        out.write(json.dumps(schema).encode() + b"\n")
        for batch in reader.batches():
            out.writelines(lines(batch))
        out.write(b'{"end": true}\n')
    except Refusal as refused:
        out.write(json.dumps({"fault": refused.told}).encode() + b"\n")
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        told = Refusal("damaged", f"the file cannot be read ({type(error).__name__}: {str(error)[:100]})").told
        out.write(json.dumps({"fault": told}).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
