"""Augmentation: the training rows are changed a little each time, so that nothing is learnt by heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from service.engine.augmentation.contract import BAND, AugmentationSpec, Mixed
from service.engine.augmentation.image import Cutout, Flip, Shift
from service.engine.augmentation.mixup import Mixup
from service.engine.augmentation.noise import Noise
from service.engine.augmentation.series import Jitter, Scaling, TimeMask
from service.engine.augmentation.warp import Rotate, Zoom
from service.engine.contract import Array, Shape, Unfit
from service.engine.losses import LossSpec

Augmentation = Annotated[
    Flip | Shift | Rotate | Zoom | Noise | Cutout | Mixup | Jitter | Scaling | TimeMask,
    Field(discriminator="kind"),
]

__all__ = ["Augmentation", "AugmentationSpec", "Mixed", "augment", "augmenting", "misfits", "mixes"]
_COPIES = 2  # of a batch: laid row by row, and what is added to it
_WORKING = 16  # arrays of a band


def augment(chosen: Sequence[AugmentationSpec], x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
    """Changes x (rows, *shape), however it lies in memory, and t in place; tells what was mixed with what."""
    mixed = None
    rows = np.ascontiguousarray(x)
    for each in chosen:
        mixed = each.apply(rows, t, random) or mixed
    if rows is not x:
        np.copyto(x, rows)
    return mixed


def misfits(chosen: Sequence[AugmentationSpec], shape: Shape, loss: LossSpec) -> list[tuple[int, Unfit]]:
    """What cannot be done to rows of this shape, by its number in the list."""
    found = []
    for index, each in enumerate(chosen):
        try:
            each.check(shape, loss)
            if isinstance(each, Mixup) and mixes(chosen[:index]):
                raise Unfit("mixtures are not mixed again: one mixup is enough")
        except Unfit as unfit:
            found.append((index, unfit))
    return found


def mixes(chosen: Sequence[AugmentationSpec]) -> bool:
    """Whether targets are mixed."""
    return any(isinstance(each, Mixup) for each in chosen)


def augmenting(chosen: Sequence[AugmentationSpec], shape: Shape, rows: int) -> int:
    """Numbers of working memory for a batch of so many rows."""
    return _COPIES * rows * shape.size + _WORKING * max(BAND, shape.size) if chosen else 0
