"""A data set read by memory map: its description, its columns, and rows as a caller would send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service import tensors
from service.data.description import ColumnDescription, Description
from service.data.place import MOST_FAULTS, pointer, refusal, row_words, shown
from service.data.read import FILE_FORMAT
from service.errors import Fault, InvalidData, NotFound, did_you_mean
from service.tensors import Array

MOST_SHOWN = 100_000  # numbers of an image or array that a preview repeats
Ids = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One column. values: (rows, *shape) numbers, or (rows,) int32 codes of a category, -1 missing; empty for text.

    `words` are a category's values by code; `data` and `offsets` a text's bytes and where each row's begin. Of
    sequences `values` are the steps of all rows, (total, *step), and `offsets` where each row's begin.
    """

    description: ColumnDescription
    values: Array
    words: tuple[str, ...] = ()
    data: Array | None = None
    offsets: Array | None = None

    def take(self, ids: Ids) -> list[object]:
        """Rows as JSON has them: missing is None, whole numbers of a whole column are ints."""
        if self.data is not None and self.offsets is not None:
            return [self._text(self.data, self.offsets, int(row)) for row in ids]
        if self.offsets is not None:
            return [self._sequence(self.offsets, int(row)) for row in ids]
        found = self.values[np.asarray(ids, np.int64)]
        if self.description.type == "category":
            return [self.words[code] if code >= 0 else None for code in found.tolist()]
        if self.description.type == "number":
            return self._numbers(found.tolist())
        if found[:1].size > MOST_SHOWN:
            return [None] * len(found)
        if self.description.missing:
            objects = found.astype(object)
            objects[~np.isfinite(found)] = None
            found = objects
        return list(found.tolist())

    def steps(self, ids: Ids) -> tuple[Array, NDArray[np.int64]]:
        """(the steps of these rows one after the other, (total, *step); how many each has), also of arrays' rows."""
        rows = np.asarray(ids, np.int64)
        if self.offsets is None:
            found = self.values[rows]
            return found.reshape(-1, *found.shape[2:]), np.full(len(rows), found.shape[1])
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        return self.values[np.repeat(self.offsets[rows] - ends + lengths, lengths) + np.arange(total)], lengths

    def _sequence(self, offsets: Array, row: int) -> object:
        found = self.values[offsets[row] : offsets[row + 1]]
        return found.tolist() if found.size <= MOST_SHOWN else None

    def _numbers(self, values: list[float]) -> list[object]:
        if self.description.integer:
            return [int(value) if value == value else None for value in values]
        return [value if value == value else None for value in values]

    @staticmethod
    def _text(data: Array, offsets: Array, row: int) -> str:
        return bytes(data[offsets[row] : offsets[row + 1]]).decode()


def side_by_side(columns: Sequence[Column], ids: Ids) -> tuple[list[Array], NDArray[np.int64]]:
    """(the steps of these rows of each column, (total, *step); how many each row has). Raises InvalidData where a row's
    columns are not equally long."""
    (first, lengths), *others = [column.steps(ids) for column in columns]
    for column, (_, other) in zip(columns[1:], others, strict=True):
        faults = [
            Fault(
                pointer("rows", int(ids[at]), column.description.name), "other_length",
                f"{row_words(int(ids[at]))}, column {column.description.name!r}: expected {lengths[at]} steps, as in"
                f" {columns[0].description.name!r}, got {other[at]}",
            )
            for at in np.flatnonzero(other != lengths)[:MOST_FAULTS].tolist()
        ]  # fmt: skip
        if faults:
            raise refusal(faults)
    return [first, *(steps for steps, _ in others)], lengths


@dataclass(frozen=True)
class Dataset:
    """An immutable data set; its columns are views of the file's pages."""

    description: Description
    columns: dict[str, Column]

    @staticmethod
    def open(path: Path) -> Dataset:
        """Maps the file. Raises InvalidData when it is not a data set of this service."""
        file = tensors.read(path)
        if file.metadata.get("format") != FILE_FORMAT:
            raise InvalidData("not a data set of this service")
        description = Description.model_validate_json(file.metadata["description"])
        columns = {column.name: _column(column, file.arrays, f"{at}.") for at, column in enumerate(description.columns)}
        return Dataset(description, columns)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.description.rows

    def column(self, name: str) -> Column:
        """One column by name. Raises NotFound."""
        if name not in self.columns:
            raise NotFound(f"no column {shown(name)}", hint=did_you_mean(name, list(self.columns)))
        return self.columns[name]

    def preview(self, n: int = 20) -> list[dict[str, object]]:
        """The first rows as objects by column name; an image or array of very many numbers is null."""
        return self.take(range(min(n, self.rows)))

    def take(self, ids: Ids) -> list[dict[str, object]]:
        """Rows by number, as objects that a prediction takes."""
        columns = {name: column.take(ids) for name, column in self.columns.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def text(self) -> memoryview:
        """All bytes of a text data set, UTF-8. Raises InvalidData when it is of another kind."""
        first = next(iter(self.columns.values()))
        if self.description.kind != "text" or first.data is None:
            raise InvalidData(f"the data set is of kind {self.description.kind}, not text")
        return first.data.data


def _column(description: ColumnDescription, arrays: dict[str, Array], prefix: str) -> Column:
    none = np.zeros(0, np.int32)
    if description.type == "text":
        return Column(description, none, (), arrays[prefix + "bytes"], arrays[prefix + "offsets"])
    if description.type == "category":
        data, offsets = bytes(arrays[prefix + "bytes"]), arrays[prefix + "offsets"].tolist()
        words = tuple(data[start:end].decode() for start, end in pairwise(offsets))
        return Column(description, arrays[prefix + "codes"], words)
    offsets = arrays[prefix + "offsets"] if description.type == "sequence" else None
    return Column(description, arrays[prefix + "values"], offsets=offsets)
