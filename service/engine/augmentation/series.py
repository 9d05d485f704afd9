"""Augmentation of series (time, n): Um et al. 2017, "Data augmentation of wearable sensor data"; SpecAugment."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.augmentation.contract import AugmentationSpec, Deviation, Mixed, check_series
from service.engine.augmentation.noise import add_noise
from service.engine.contract import Array, Shape, Unfit
from service.engine.losses import LossSpec


class Jitter(AugmentationSpec):
    """x[t, c] += deviation * n[t, c], n normal with variance 1. x: (time, n). Um et al. 2017."""

    kind: Literal["jitter"] = "jitter"
    deviation: Deviation = Field(default=0.03, description="Standard deviation of what is added.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_series(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        add_noise(x, self.deviation, random)
        return None


class Scaling(AugmentationSpec):
    """x[t, c] *= 1 + deviation * n[c], one normal n for each channel of each row. x: (time, n). Um et al. 2017."""

    kind: Literal["scaling"] = "scaling"
    deviation: Deviation = Field(default=0.1, description="Standard deviation of the factor, around 1.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        check_series(shape)

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        factor = random.standard_normal((len(x), 1, x.shape[2]), x.dtype)
        factor *= self.deviation
        factor += 1
        np.multiply(x, factor, x)
        return None


class TimeMask(AugmentationSpec):
    """x[s : s + l, :] = 0: a stretch of time is hidden, l uniform in 0..steps, s uniform. x: (time, n).

    Park et al. 2019 (SpecAugment), with one stretch; 0 is the mean of a standardised series.
    """

    kind: Literal["time_mask"] = "time_mask"
    steps: int = Field(default=10, ge=0, le=1_000_000, description="Most steps that are hidden.")

    def check(self, shape: Shape, loss: LossSpec) -> None:
        time = check_series(shape)
        if self.steps > time:
            raise Unfit(f"{self.steps} steps of {time} cannot be hidden", "/steps", f"at most {time}")

    def apply(self, x: Array, t: Array, random: np.random.Generator) -> Mixed | None:
        length = random.integers(0, self.steps, len(x), endpoint=True)[:, None]
        start = random.integers(0, x.shape[1] - length, endpoint=True)
        time = np.arange(x.shape[1])
        hidden = (time >= start) & (time < start + length)
        np.copyto(x, 0, where=hidden[..., None])
        return None
