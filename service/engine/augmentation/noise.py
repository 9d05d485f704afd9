"""Noise on numbers of any shape."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.augmentation.contract import AugmentationSpec, Deviation, Mixed, check_numbers
from service.engine.contract import Array, Shape
from service.engine.losses import LossSpec


class Noise(AugmentationSpec):
    """x += deviation * n, n normal with variance 1, in the units of the scaled input. x: (batch, ...). Bishop 1995."""

    kind: Literal["noise"] = "noise"
    deviation: Deviation = Field(default=0.1, description="Standard deviation of what is added.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_numbers(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        add_noise(x, self.deviation, random)
        return None


def add_noise(x: Array, deviation: float, random: np.random.Generator) -> None:
    """x += deviation * n."""
    noise = random.standard_normal(x.shape, x.dtype)
    noise *= deviation
    np.add(x, noise, x)
