"""Data sets as answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import storage
from service.api.views.base import View
from service.data import ColumnDescription


class DatasetView(View):
    """An immutable data set."""

    id: str
    name: str
    kind: Literal["table", "array", "sequence", "image", "series", "text", "weights"]
    rows: int = Field(description="Lines, for a text.")
    columns: list[ColumnDescription]
    bytes: int
    sha256: str = Field(description="Of the upload as it came; the same upload twice is one data set.")
    warnings: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: storage.DatasetRow) -> Self:
        described = row.description
        same = ("id", "name", "kind", "rows", "bytes", "sha256", "created_at")
        given = {name: getattr(row, name) for name in same}
        return cls(**given, columns=described["columns"], warnings=described["warnings"])


class HistogramView(View):
    """How the values of a column lie: numbers, dates and pixels by bins, words by how often they occur.

    Bin i is from edges[i] to edges[i + 1]; the last one has its end. The rest of the words is `other`.
    """

    edges: list[float] | None = Field(description="Ascending, one more than counts; null for words.")
    values: list[str] | None = Field(description="The most frequent words; null for numbers.")
    counts: list[int]
    other: int = Field(description="Rows of words that are not among these.")
    missing: int
    rows: int = Field(description="How many were looked at; of very many a sample at even distances.")


class PreviewView(View):
    """The first rows, as they would be sent to a model."""

    id: str
    rows: list[Any]
    histograms: dict[str, HistogramView] = Field(description="By column; none of texts, and of the first 200 columns.")


class UploadView(View):
    """A file that comes in pieces."""

    id: str
    name: str
    bytes: int = Field(description="The file's size, as announced.")
    offset: int = Field(description="So many have come and are on disk for good: the next piece begins here.")
    dataset_id: str | None = Field(description="What it has become, when it is finished.")
    expires_at: datetime = Field(description="A day after the last piece.")
