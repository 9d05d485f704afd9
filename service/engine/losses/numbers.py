"""Losses of numbers: how far the output is from the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Step, Target
from service.engine.fast import clip
from service.engine.losses.contract import LossSite, LossSpec, Sums, count_steps, divided, sum_steps


class SquaredError(LossSpec):
    """L = mean (z - y)^2, over rows and outputs; dL/dz = 2 (z - y) / count. z, y: (batch, ..., k). Legendre 1805."""

    kind: Literal["squared_error"] = "squared_error"
    target: ClassVar[Target] = "number"
    name: ClassVar[str] = "squared_error"

    def bind(self, site: LossSite) -> Step:
        return _difference(site, lambda r, dz: np.add(r, r, dz))

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        r = evidence.astype(np.float64)
        return Sums(sum_steps(r * r, mask), None, count_steps(r, mask))


class AbsoluteError(LossSpec):
    """L = mean |z - y|, over rows and outputs; dL/dz = sign(z - y) / count. z, y: (batch, ..., k). Boscovich 1757."""

    kind: Literal["absolute_error"] = "absolute_error"
    target: ClassVar[Target] = "number"
    name: ClassVar[str] = "absolute_error"

    def bind(self, site: LossSite) -> Step:
        return _difference(site, np.sign)

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        return Sums(sum_steps(np.abs(evidence), mask), None, count_steps(evidence, mask))


class Huber(LossSpec):
    """L = mean of r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), r = z - y. Huber 1964.

    z, y: (batch, ..., k). dL/dz = clip(r, -delta, delta) / count. Equals delta times PyTorch's smooth_l1 with
    beta = delta.
    """

    kind: Literal["huber"] = "huber"
    delta: float = Field(default=1.0, gt=0, le=1e6, description="Where the square becomes a straight line.")
    target: ClassVar[Target] = "number"
    name: ClassVar[str] = "huber"

    def bind(self, site: LossSite) -> Step:
        low, high = np.array(-self.delta, site.z.dtype), np.array(self.delta, site.z.dtype)
        return _difference(site, lambda r, dz: clip(r, low, high, dz))

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        far = np.abs(evidence.astype(np.float64))
        near = np.minimum(far, self.delta)
        return Sums(sum_steps(near * (far - near / 2), mask), None, count_steps(far, mask))


def _difference(site: LossSite, slope: Callable[[Array, Array], object]) -> Step:
    """Evidence r = z - y; dz = slope(r) / divisor."""
    z, y, r, dz = site.z, site.y, site.evidence, site.dz
    if dz is None:
        return lambda: np.subtract(z, y, r)

    def derivative() -> None:
        np.subtract(z, y, r)
        slope(r, dz)

    return divided(site, derivative)
