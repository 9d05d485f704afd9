"""Losses of yes or no: one output says which of two."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from service.engine.contract import Array, Step, Target
from service.engine.losses.contract import LossSite, LossSpec, Sums, count_steps, divided, sum_steps


class BinaryCrossEntropy(LossSpec):
    """L = mean of log(1 + exp(z)) - y z, z the logit of y = 1: a final sigmoid is computed inside.

    z, y: (batch, ..., k), y 0 or 1; the likelihood of Cox 1958. dL/dz = (sigmoid(z) - y) / count; exact for any
    z, however large.
    """

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    target: ClassVar[Target] = "binary"
    name: ClassVar[str] = "binary_cross_entropy"
    absorbs: ClassVar[tuple[str, ...]] = ("sigmoid",)
    finish: ClassVar[str | None] = "sigmoid"

    def width(self, outputs: int) -> int:
        return outputs

    def advice(self, last: str | None) -> str | None:
        if last in (None, "sigmoid"):
            return None
        return f"binary_cross_entropy works on logits of any size and sign: end linear or with sigmoid, not {last}"

    def bind(self, site: LossSite) -> Step:
        z, y, dz, keep = site.z, site.y, site.dz, site.evidence
        half = np.array(0.5, z.dtype)
        if dz is None:
            return lambda: np.copyto(keep, z)

        def derivative() -> None:
            np.copyto(keep, z)
            np.multiply(z, half, dz)
            np.tanh(dz, dz)
            np.multiply(dz, half, dz)
            np.add(dz, half, dz)
            np.subtract(dz, y, dz)

        return divided(site, derivative)

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        z = evidence.astype(np.float64)
        right = (z > 0) == (y > 0.5)
        return Sums(sum_steps(np.logaddexp(0, z) - y * z, mask), sum_steps(right, mask), count_steps(z, mask))


class Hinge(LossSpec):
    """L = mean max(0, 1 - s z), s = +1 where y is 1 and -1 where it is 0; the sign of z is the class.

    z, y: (batch, ..., k). dL/dz = -s / count where s z < 1, else 0. Cortes and Vapnik 1995. Answers are sigmoid(z):
    above one half where z is above 0, but sure of nothing else (Platt 1999).
    """

    kind: Literal["hinge"] = "hinge"
    target: ClassVar[Target] = "binary"
    name: ClassVar[str] = "hinge"
    finish: ClassVar[str | None] = "sigmoid"
    mixes: ClassVar[bool] = False

    def width(self, outputs: int) -> int:
        return outputs

    def advice(self, last: str | None) -> str | None:
        if last in (None, "tanh"):
            return None
        return f"hinge works on a margin of any size and sign, which a final {last} cannot give"

    def bind(self, site: LossSite) -> Step:
        z, y, dz, margin = site.z, site.y, site.dz, site.evidence
        sign, inside = site.scratch("sign", z.shape), site.scratch("inside", z.shape, np.bool_)
        one, two = np.array(1, z.dtype), np.array(2, z.dtype)

        def look() -> None:
            np.multiply(y, two, sign)
            np.subtract(sign, one, sign)
            np.multiply(sign, z, margin)

        if dz is None:
            return look

        def derivative() -> None:
            look()
            np.less(margin, one, inside)
            np.multiply(sign, inside, dz)
            np.negative(dz, dz)

        return divided(site, derivative)

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        margin = evidence.astype(np.float64)
        losses = sum_steps(np.maximum(0, 1 - margin), mask)
        return Sums(losses, sum_steps(margin > 0, mask), count_steps(margin, mask))
