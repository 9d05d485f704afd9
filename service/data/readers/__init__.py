"""Readers of uploaded files, one format a file."""

from __future__ import annotations

from service.data.columns import Finished

Read = tuple[int, list[Finished], list[str]]  # rows, columns, warnings
