"""Rows as a caller sends them, through a network, to answers a caller can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.serving.registry import RowModel, Served
from service.tensors import Array

SMALL = 1 << 26  # bytes of weights times rows that take about a millisecond: below, no thread is worth its while


def predict(served: Served, rows: Sequence[Any], top_k: int | None = None) -> list[dict[str, Any]]:
    """One answer a row, in their order. Raises InvalidData with every fault, its pointer from /rows/..."""
    model = served.rows()
    return answers(model, model.network(model.preprocessor.rows(rows)), top_k)


def answers(model: RowModel, y: Array, top_k: int | None = None) -> list[dict[str, Any]]:
    """What a network's output says, by name."""
    found: list[dict[str, Any]] = model.preprocessor.answers(y, top_k)
    return found
