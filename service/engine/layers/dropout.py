"""Dropout: in training some numbers are set to nothing, so that no unit relies on another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Shape, Site, Step


class Dropout(LayerSpec):
    """y = x m / (1 - p), m = 0 with probability p, else 1; y = x when not training. Srivastava et al. 2014.

    x, y, m: (batch, ...). The rate is taken in steps of 1/256 where that is exact and of 1/65536 otherwise; the
    scale fits the rate taken.
    """

    kind: Literal["dropout"] = "dropout"
    rate: float = Field(ge=0, lt=1, description="Share of the numbers dropped in training.")
    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True
    takes_indices: ClassVar[bool] = False

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape, flops=3 * shape.size, workspace=2 * shape.size)

    def bind(self, site: Site) -> tuple[Step | None, Step | None]:
        return self.drop(site, lambda dtype: site.random("bits", dtype))

    def drop(self, site: Site, random: Callable[[Any], Array]) -> tuple[Step | None, Step | None]:
        """`random(dtype)`: whole numbers, one for each of x, fresh for every step."""
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        if not site.training or self.rate == 0:
            return _identity(x, y), None if dx is None else _identity(dy, dx)
        fine = self.rate * 256 != round(self.rate * 256)
        levels, dtype = (65_536, np.uint16) if fine else (256, np.uint8)
        drop = min(round(self.rate * levels), levels - 1)
        threshold, scale = np.array(drop, dtype), np.array(levels / (levels - drop), site.dtype)
        bits, keep, mask = random(dtype), site.alike("keep", np.bool_), site.alike("mask")

        def forward() -> None:
            np.greater_equal(bits, threshold, keep)
            np.multiply(keep, scale, mask)
            np.multiply(x, mask, y)

        def backward() -> None:
            np.multiply(dy, mask, dx)

        return forward, backward


def _identity(source: Array, target: Array) -> Step | None:
    same = source.ctypes.data == target.ctypes.data and source.strides == target.strides
    return None if same else lambda: np.copyto(target, source)
