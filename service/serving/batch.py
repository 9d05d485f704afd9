"""Requests that came together share one pass through the network; each finds its own rows in the output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from service.errors import ServiceError
from service.serving.arrays import from_raw
from service.serving.registry import RowModel
from service.tensors import Array

Part = bytes | list[Any]
"""Rows of one request: little-endian float32, or as JSON has them."""


def together(model: RowModel, parts: Sequence[Part], plain: bool) -> tuple[Array, list[slice | None]]:
    """y of all rows, and which of them are each part's; None where a part does not fit: asked alone, it is told why.

    All parts are of one kind. `plain`: none holds true, false or null.
    """
    joint = _joint(model, parts, plain)
    if joint is not None and len(parts) == 1:
        return model.network(joint), [slice(0, len(joint))]
    read: list[Array | None] = [joint]
    counts = [_count(model, part) for part in parts]
    if read[0] is None:
        read = [_alone(model, part) for part in parts]
        counts = [0 if x is None else len(x) for x in read]
    ends = list(accumulate(counts))
    fitting = [x for x in read if x is not None]
    if not fitting:
        return np.zeros((0, 0), np.float32), [None] * len(parts)
    y = model.network(fitting[0] if len(fitting) == 1 else np.concatenate(fitting))
    return y, [slice(end - count, end) if count else None for count, end in zip(counts, ends, strict=True)]


def _joint(model: RowModel, parts: Sequence[Any], plain: bool) -> Array | None:
    """x of all parts read at once; None when one of them does not fit, or does not tell its rows from others'."""
    if isinstance(parts[0], list):
        return model.preprocessor.plain(parts[0] if len(parts) == 1 else [*chain(*parts)]) if plain else None
    row_bytes = 4 * (model.preprocessor.width or 0)
    for part in parts:
        if not row_bytes or len(part) % row_bytes or not part:
            return None
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    x = model.preprocessor.floats(data)
    return x if x is not None else _alone(model, data)


def _alone(model: RowModel, part: Part) -> Array | None:
    try:
        return from_raw(model, part) if isinstance(part, bytes) else model.preprocessor.rows(part)
    except ServiceError:
        return None


def _count(model: RowModel, part: Part) -> int:
    return len(part) // (4 * (model.preprocessor.width or 1)) if isinstance(part, bytes) else len(part)
