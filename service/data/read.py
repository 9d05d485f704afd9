"""Turns an upload into one safetensors file of columns, whatever its format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from service.data.columns import Finished
from service.data.description import Description, Kind, Limits, Parsed, Upload
from service.data.readers import Read
from service.data.readers.arrow import ARROW_MAGICS, PARQUET_MAGIC, read_arrow
from service.data.readers.csv_table import read_csv
from service.data.readers.folders import holds
from service.data.readers.idx import is_idx, read_idx
from service.data.readers.json_rows import read_json_array, read_json_lines, read_rows
from service.data.readers.npy import read_npy, read_npz
from service.data.readers.others import OTHERS
from service.data.readers.pictures import PICTURES, read_pictures
from service.data.readers.sounds import SOUNDS, read_sounds
from service.data.readers.text import read_text
from service.data.readers.weights import is_weights, read_weights
from service.data.source import NO_WISHES, Source, oversized, unusable
from service.data.spool import Spool, write
from service.data.wishes import Wishes
from service.errors import did_you_mean

Format = Literal[
    "csv", "jsonl", "json", "parquet", "arrow", "npy", "npz", "images", "sounds", "idx", "text", "safetensors"
]
Reader = Callable[[Sequence[Source], Spool], Read]

FILE_FORMAT = "netwright.dataset/1"
READERS: dict[str, Reader] = {
    "csv": read_csv,
    "jsonl": read_json_lines,
    "json": read_json_array,
    "parquet": read_arrow,
    "arrow": read_arrow,
    "npy": read_npy,
    "npz": read_npz,
    "images": read_pictures,
    "sounds": read_sounds,
    "idx": read_idx,
    "text": read_text,
}
_TABLES = ("csv", "jsonl", "json", "parquet", "arrow")
FORMATS = (*READERS, "safetensors")
_SUFFIXES = {
    "csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "json",
    "npy": "npy", "npz": "npz", "txt": "text", "text": "text", "md": "text",
}  # fmt: skip
_MAGIC = {
    b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", PARQUET_MAGIC: "parquet",
    **dict.fromkeys(ARROW_MAGICS, "arrow"),
}  # fmt: skip


def read(
    files: Sequence[Upload], into: Path, format: str | None = None, limits: Limits = Limits(),  # noqa: B008
    wishes: Wishes = NO_WISHES,
) -> Parsed:  # fmt: skip
    """Parses one or more files into the file `into`.

    Raises InvalidData (naming row and column where it can) or TooLarge; nothing is left at `into` then.
    """
    if not files:
        raise unusable("empty", "there is no file")
    if len(files) > limits.members:
        raise oversized(f"there are more than {limits.members:,} files")
    if format is not None and format not in FORMATS:
        hint = did_you_mean(format, FORMATS) or "one of " + ", ".join(FORMATS)
        raise unusable("unknown_format", f"unknown format {format[:40]!r}", hint)
    sources = [Source(file, limits, wishes) for file in files]
    formats = {format or guess_format(source) for source in sources}
    if len(formats) > 1:
        raise unusable("mixed_formats", f"the files are of several formats: {', '.join(sorted(formats))}")
    found = formats.pop()
    _check_wishes(wishes, found)
    if found == "safetensors":
        return read_weights(sources, into)
    reader = READERS[found]
    return save(lambda spool: _named(reader(sources, spool)) if found == "csv" else reader(sources, spool), into,
                text=found == "text")  # fmt: skip


def _named(read: Read) -> Read:
    """A CSV file; with a warning when no line named its columns."""
    rows, columns, warnings = read
    if [each.description.name for each in columns] != [f"column_{at + 1}" for at in range(len(columns))]:
        return read
    told = "no line of names was found: the first line is a row, and the columns are called column_1, column_2, ..."
    return rows, columns, [*warnings, told]


def _check_wishes(wishes: Wishes, format: str) -> None:
    if wishes.types and format not in _TABLES:
        raise unusable("no_types", f"types are for tables ({', '.join(_TABLES)}), this is {format}")
    if wishes.resize and format != "images":
        raise unusable("no_resize", f"resize is for a zip of pictures, this is {format}")


def rows_to_dataset(rows: Sequence[object], into: Path, limits: Limits = Limits()) -> Parsed:  # noqa: B008
    """Writes rows at hand (objects, or arrays of values) as a data set. Raises InvalidData naming row and column."""
    if not rows:
        raise unusable("no_rows", "there are no rows")
    return save(lambda spool: read_rows(list(rows), spool, limits.columns), into)


def rows_sha256(rows: Sequence[object]) -> str:
    """Names rows by content: the sha256 of their canonical JSON (keys sorted, no blanks)."""
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save(reader: Callable[[Spool], Read], into: Path, *, text: bool = False) -> Parsed:
    """Writes what `reader` reads as one data set file."""
    spool = Spool(into.parent)
    try:
        rows, columns, warnings = reader(spool)
        described = [column.description for column in columns]
        description = Description(
            kind="text" if text else _kind(rows, columns),
            rows=rows,
            columns=described,
            warnings=[*warnings, *(warning for column in columns for warning in column.warnings)],
        )
        streams = {f"{at}.{part}": one for at, column in enumerate(columns) for part, one in column.streams.items()}
        metadata = {"format": FILE_FORMAT, "description": _stored(description)}
        sha256, size = write(into, streams, metadata)
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    finally:
        spool.close()
    return Parsed(description, sha256, size)


def _stored(description: Description) -> str:
    """As JSON; without `lengths` where there are none: the files of before have the same names."""
    without: Any = {at: {"lengths"} for at, each in enumerate(description.columns) if each.lengths is None}
    return description.model_dump_json(exclude={"columns": without})


def _kind(rows: int, columns: list[Finished]) -> Kind:
    types = [column.description.type for column in columns]
    if "image" in types:
        return "image"
    if "sequence" in types:
        return "sequence"
    if "array" in types:
        return "array"
    return "series" if types == ["number"] and rows > 1 else "table"


def guess_format(source: Source) -> str:
    """By the first bytes, then by the name, then by what a text looks like. Raises InvalidData when none fits."""
    if source.suffix in OTHERS:
        what, hint = OTHERS[source.suffix]
        raise unusable("unknown_format", f"{source.name} is {what}", hint)
    head = source.head(4096)
    if not head:
        raise unusable("empty", f"{source.name} is empty")
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return _zipped(source) if name == "npz" else name
    if is_idx(head):
        return "idx"
    if is_weights(head, source.packed_bytes):
        return "safetensors"
    if source.suffix in _SUFFIXES:
        return _json_format(head) if _SUFFIXES[source.suffix] == "json" else _SUFFIXES[source.suffix]
    return _text_format(source, head)


def _zipped(source: Source) -> Format:
    """What a zip holds, an NPZ's arrays if nothing else."""
    return "images" if holds(source, PICTURES) else "sounds" if holds(source, SOUNDS) else "npz"


def _json_format(head: bytes) -> str:
    """A file called .json may still hold a row a line."""
    return "jsonl" if head.lstrip().startswith(b"{") else "json"


def _text_format(source: Source, head: bytes) -> str:
    start = head.lstrip()[:1]
    lines = head.splitlines()[:-1] or [head]
    if start == b"{":
        return "jsonl"
    if start == b"[":
        return "jsonl" if all(line.rstrip().endswith(b"]") for line in lines) and len(lines) > 1 else "json"
    if b"\0" in head:
        hint = "send CSV, JSON lines, Parquet, Arrow, NPY, NPZ, IDX, a zip of pictures or sounds, or UTF-8 text"
        raise unusable("unknown_format", f"{source.name} is in no known format", hint)
    for mark in (b",", b"\t", b";"):
        counts = {line.count(mark) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return "csv"
    return "text"
