"""Augmentation: the training rows are changed a little each time, so that nothing is learnt by heart."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Shape, Spec, Unfit


class AugmentationSpec(Spec):
    """Contract of an augmentation: one batch (or shard) at a time, after scaling, in place."""

    def check(self, shape: Shape) -> None:
        """Raises Unfit when rows of this shape cannot be changed so."""

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> None:
        """x: (rows, *shape) numbers. t: (rows, ..., k) targets as the loss has them (for classes, probabilities)."""
        raise NotImplementedError


class Noise(AugmentationSpec):
    """x += deviation * n, n normal with variance 1, in the units of the scaled input."""

    kind: Literal["noise"] = "noise"
    deviation: float = Field(default=0.1, gt=0, le=1000, description="Standard deviation of what is added.")

    def check(self, shape: Shape) -> None:
        if shape.vocabulary is not None:
            raise Unfit("works on numbers, not on ids")

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> None:
        noise = random.standard_normal(x.shape, x.dtype)
        noise *= self.deviation
        np.add(x, noise, x)


Augmentation = Annotated[Noise, Field(discriminator="kind")]
