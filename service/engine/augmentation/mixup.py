"""Mixup: rows and targets become mixtures of two."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.augmentation.contract import AugmentationSpec, Mixed, check_numbers
from service.engine.contract import Array, Shape, Unfit
from service.engine.losses import LossSpec


class Mixup(AugmentationSpec):
    """x_i = s x_i + (1 - s) x_j and t_i = s t_i + (1 - s) t_j, j a permutation of the batch. Zhang et al. 2018.

    x: (batch, ...), t: (batch, k). One s ~ Beta(alpha, alpha) a batch, as in the authors' program; s and 1 - s
    change places when s < 1/2, which only swaps i and j. Training loss and accuracy are those of the mixtures;
    validation is never mixed.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(default=0.2, ge=0, le=100, description="Small: mostly one of the two. 0: nothing is mixed.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_numbers(shape)
        if shape.timed:
            raise Unfit("rows of different lengths cannot be mixed")
        if not loss.mixes:
            raise Unfit(f"{loss.name} has no meaning between two classes", hint="use binary_cross_entropy")

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        share, partner = float(random.beta(self.alpha, self.alpha)) if self.alpha else 1.0, random.permutation(len(x))
        share = max(share, 1 - share)
        if share == 1:
            return None
        for each in (x, t):
            other = each[partner]
            other *= 1 - share
            np.multiply(each, share, each)
            np.add(each, other, each)
        return Mixed(share, partner)
