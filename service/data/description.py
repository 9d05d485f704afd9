"""What is known of a data set: its kind, its columns, their types and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["table", "array", "sequence", "image", "series", "text", "weights"]
ColumnType = Literal["number", "category", "image", "array", "sequence", "text"]


class Counted(BaseModel):
    """A value of a column and how many rows have it."""

    model_config = ConfigDict(frozen=True)

    value: str
    count: int


class Lengths(BaseModel):
    """How many steps the rows of a column of sequences have, and how many numbers (`features`) a step."""

    model_config = ConfigDict(frozen=True)

    shortest: int
    longest: int
    median: float
    steps: int
    features: int


class ColumnDescription(BaseModel):
    """One column: its type and statistics. A field that does not apply to the type is null.

    `shape` is one row's; of sequences the longest row's. `resized`: whether pictures were scaled to it, as asked.
    `samples_per_s`: of sounds.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: ColumnType
    dtype: str
    shape: list[int]
    integer: bool
    missing: int
    distinct: int | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    top: list[Counted]
    classes: list[str] | None
    lengths: Lengths | None = None
    resized: bool | None = None
    samples_per_s: int | None = None


class Description(BaseModel):
    """A data set as it was understood: kind, rows, columns, and what a reader should know."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    rows: int
    columns: list[ColumnDescription]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A data set's file as it was written: its description, its sha256 and its size."""

    description: Description
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on disk as a caller sent it; the name is a hint, the bytes decide."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader takes in before it refuses, whatever the file claims."""

    inflated_bytes: int = 8_000_000_000
    inflated_ratio: int = 200  # beyond the free part, inflated bytes a byte of the file may give
    inflated_free_bytes: int = 64_000_000  # a small file of zeros is no bomb
    line_bytes: int = 8_000_000
    array_json_bytes: int = 32_000_000  # a JSON array is held whole; JSON lines are not
    columns: int = 10_000
    rows: int = 1_000_000_000
    members: int = 1_000  # arrays in an NPZ, files in an upload

    def inflated(self, packed_bytes: int) -> int:
        """The most bytes that `packed_bytes` of a packed file may become."""
        return min(self.inflated_bytes, max(self.inflated_free_bytes, packed_bytes * self.inflated_ratio))
