"""The data room's words in the engine's: what a row is, and the rows of each part."""

from __future__ import annotations

from typing import Any

from service.data import Outline, Part, Prepared
from service.engine import Examples, Signature


def signature_of(found: Outline | Prepared) -> Signature:
    """Of a prepared data set; of an outline, where scale and offset are not known yet and do not matter."""
    told = found if isinstance(found, Outline) else found.outline
    scale, offset = (1.0, 0.0) if isinstance(found, Outline) else (found.scale, found.offset)
    dtype: Any = told.dtype  # the engine takes float64 rows too, though its word for them does not say so
    return Signature(told.shape, dtype, scale, offset, told.vocabulary, told.layout.timed)


def examples_of(part: Part) -> Examples:
    """A part's rows."""
    return Examples(part.x, part.y, part.lengths)
