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
    kind: Literal["table", "array", "image", "series", "text", "weights"]
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


class PreviewView(View):
    """The first rows, as they would be sent to a model."""

    id: str
    rows: list[Any]
