"""What every augmentation must be able to say and do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Shape, Spec, Unfit
from service.engine.losses import LossSpec

BAND = 1 << 15  # numbers worked on at once, so that working memory stays small and in the cache

Deviation = Annotated[float, Field(ge=0, le=1000)]
Pixels = Annotated[int, Field(ge=0, le=100_000)]
Fill = Literal["zero", "edge"]


@dataclass(frozen=True, slots=True)
class Mixed:
    """What a batch was mixed with: row i is `share` of itself and 1 - `share` of row `partner[i]`."""

    share: float
    partner: Array


class AugmentationSpec(Spec):
    """Contract of an augmentation: one batch (or shard) at a time, after scaling, in place."""

    def check(self, shape: Shape, loss: LossSpec) -> None:
        """Raises Unfit when rows of this shape, learned by this loss, cannot be changed so."""
        raise NotImplementedError

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        """x: (rows, *shape) numbers, contiguous. t: (rows, ..., k) targets as the loss has them (probabilities)."""
        raise NotImplementedError


def check_numbers(shape: Shape) -> None:
    """Raises Unfit for ids of a vocabulary."""
    if shape.vocabulary is not None:
        raise Unfit("works on numbers, not on ids")


def check_image(shape: Shape) -> tuple[int, int]:
    """(height, width). Raises Unfit when a row is no (height, width, channels)."""
    check_numbers(shape)
    if len(shape.dims) != 3 or shape.timed:
        raise Unfit(f"works on images (height, width, channels), not on {list(shape.dims)}")
    return shape.dims[0], shape.dims[1]


def check_series(shape: Shape) -> int:
    """Steps of time. Raises Unfit when a row is no (time, n)."""
    check_numbers(shape)
    if len(shape.dims) != 2:
        raise Unfit(f"works on series (time, n), not on {list(shape.dims)}")
    return shape.dims[0]


def bands(x: Array, size: int | None = None) -> Iterator[slice]:
    """Pieces of the rows of x; `size`: numbers of a row that are worked on, when they are more than x has."""
    step = max(1, BAND // max(1, size or x[:1].size))
    for start in range(0, len(x), step):
        yield slice(start, min(start + step, len(x)))
