"""Losses of distributions: the network's softmax against a class, or against given probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Shape, Step, Target
from service.engine.fast import clip, largest, total
from service.engine.losses.contract import Doubles, LossSite, LossSpec, Sums, count_steps, divided, sum_steps

TINY = 1e-30
FEW = 16  # up to so many classes are worked through one by one
Weights = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(strict=False, min_length=2, max_length=100_000)
]


class CrossEntropy(LossSpec):
    """L = sum_n t_n . (-log softmax(z_n)) / sum_n w[y_n]: a final softmax is computed inside.

    z: (batch, ..., k), y: (batch, ...) whole numbers below k. The target t of class c is w[c] (1 - s) at c plus
    s w[j] / k everywhere, with label smoothing s and class weights w (all 1 when not given), as in PyTorch.
    dL/dz = ((sum t) softmax(z) - t) / sum w. Bridle 1990; smoothing by Szegedy et al. 2016.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    class_weights: Weights | None = Field(default=None, description="One weight per class, in the classes' order.")
    target: ClassVar[Target] = "class"
    name: ClassVar[str] = "cross_entropy"
    columns: ClassVar[int] = FEW
    absorbs: ClassVar[tuple[str, ...]] = ("softmax", "log_softmax")
    finish: ClassVar[str | None] = "softmax"

    def advice(self, last: str | None) -> str | None:
        return _advice("cross_entropy", last)

    def fault(self, outputs: int) -> tuple[str, str] | None:
        given = len(self.class_weights or ())
        if given and not any(self.class_weights or ()):
            return "/class_weights", "no class has a weight above 0"
        if given in (0, outputs):
            return None
        return "/class_weights", f"there are {outputs} classes, but {given} weights"

    def elements(self, shape: Shape) -> int:
        return shape.size // shape.dims[-1]

    def divisors(self, y: Array, mask: Array | None, shape: Shape) -> Doubles | None:
        if self.class_weights is None:
            return super().divisors(y, mask, shape)
        found = sum_steps(np.asarray(self.class_weights)[y], mask)
        nothing = 1.0 if self.label_smoothing else TINY  # a batch without weight teaches nothing, and is not 0 / 0
        return np.where(found > 0, found, nothing)

    def targets(self, classes: int) -> Doubles:
        """(classes, classes): row c is t of class c."""
        s, w = self.label_smoothing, np.asarray(self.class_weights or (1.0,) * classes)
        return np.asarray((1 - s) * np.eye(classes) * w[:, None] + s / classes * w)

    def encode(self, width: int, dtype: Any, constant: float | None) -> Callable[[Array, Array], object] | None:
        table = (self.targets(width) / (constant or 1)).astype(dtype)

        def encode(y: Array, t: Array) -> None:
            if t.flags.c_contiguous:
                table.take(y, 0, t, "clip")
            else:
                np.copyto(t, table.take(y, 0, mode="clip"))

        return encode

    def bind(self, site: LossSite) -> Step:
        if site.dz is not None and site.constant and site.mask is None:
            return _fast(site)  # weights make the divisor change, so they never come here
        return _general(site)

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        logs = np.log(_over_classes(np.exp(evidence)).astype(np.float64))
        own = _of_classes(evidence, y)
        if self.label_smoothing == 0 and self.class_weights is None:
            each = logs - own
        else:
            t = self.targets(evidence.shape[-1])[y]
            each = (t * (logs[..., None] - evidence)).sum(axis=-1)
        return Sums(sum_steps(each, mask), sum_steps(own == 0, mask), count_steps(own, mask))


class KlDivergence(LossSpec):
    """L = sum_n y_n . (log y_n - log softmax(z_n)) / rows: PyTorch's "batchmean"; a final softmax is computed inside.

    z: (batch, k), y: (batch, k) probabilities. dL/dz = ((sum y) softmax(z) - y) / rows. Kullback and Leibler 1951.
    """

    kind: Literal["kl_divergence"] = "kl_divergence"
    target: ClassVar[Target] = "distribution"
    name: ClassVar[str] = "kl_divergence"
    absorbs: ClassVar[tuple[str, ...]] = ("softmax", "log_softmax")
    finish: ClassVar[str | None] = "softmax"

    def advice(self, last: str | None) -> str | None:
        return _advice("kl_divergence", last)

    def elements(self, shape: Shape) -> int:
        return shape.size // shape.dims[-1]

    def bind(self, site: LossSite) -> Step:
        return _general(site)

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        z, p = evidence.astype(np.float64), y.astype(np.float64)
        logs = np.log(np.exp(z).sum(axis=-1, keepdims=True))
        own = np.log(np.where(p > 0, p, 1.0))
        each = (p * (own - z + logs)).sum(axis=-1)
        return Sums(sum_steps(each, mask), None, count_steps(each, mask))


def _over_classes(each: Array) -> Array:
    """The sums over the last axis; of few classes one after the other, three times faster."""
    k = each.shape[-1]
    if k > FEW:
        return np.asarray(np.add.reduce(each, -1))
    sums: Array = each[..., 0] + each[..., 1] if k > 1 else each[..., 0]
    for c in range(2, k):
        np.add(sums, each[..., c], sums)
    return sums


def _of_classes(each: Array, y: Array) -> Array:
    """each[..., y], whatever its order in memory."""
    k = each.shape[-1]
    if each.ndim == 3 and not each.flags.c_contiguous:  # class by class: (steps, k, rows) in memory
        steps, rows, _ = each.shape
        flat, places = each.swapaxes(1, 2).reshape(-1), y * rows + _first_class(steps, k, rows)
        return np.asarray(flat.take(places))
    return np.asarray(each.reshape(-1).take(y.reshape(-1) + np.arange(0, each.size, k)).reshape(y.shape))


@lru_cache(maxsize=8)
def _first_class(steps: int, k: int, rows: int) -> Array:
    """(steps, rows): where the first class of each row lies in (steps, k, rows)."""
    return np.asarray(np.arange(steps)[:, None] * (k * rows) + np.arange(rows))


def _advice(loss: str, last: str | None) -> str | None:
    if last in (None, "softmax", "log_softmax"):
        return None
    return f"{loss} works on logits of any size and sign: end linear or with softmax, not {last}"


def _fast(site: LossSite) -> Step:
    """Constant divisor n: t comes divided by n, and the sums are taken n-fold, so no call is spent on it."""
    assert site.dz is not None
    assert site.constant is not None
    k = site.z.shape[-1]
    if site.z.ndim == 2 and 1 < k <= FEW:
        return _few(site, site.dz, site.constant)
    dz, e, t = site.dz.reshape(-1, k), site.scratch("e", site.z.shape).reshape(-1, k), site.t.reshape(-1, k)
    evidence, sums = site.evidence.reshape(-1, k), site.scratch("sums", (site.z.size // k, 1))
    n = np.full((k, 1), site.constant, site.z.dtype)
    shift, exp, divide, subtract, times = _shift(site), np.exp, np.divide, np.subtract, e.dot

    def step() -> None:
        shift()
        exp(evidence, e)
        times(n, sums)
        divide(e, sums, dz)
        subtract(dz, t, dz)

    return step


def _few(site: LossSite, dz: Array, constant: float) -> Step:
    """The same with few classes, class by class: two-array maxima instead of a reduction, sums given to every class,
    the largest taken off by a product (1 z - 1 top + 0 ... is exact), twice as fast as along an axis of one."""
    z, dz, t, shifted, tall = site.z.T, dz.T, site.t.T, site.evidence.T, site.tall
    k, rows = z.shape
    e, sums = site.scratch("e", (k, rows)), site.scratch("sums", (k, rows))
    top = site.scratch("top", (rows,)) if tall is None else tall[-1]
    n, infinity = np.full((k, k), constant, z.dtype), np.array(np.inf, z.dtype)
    first, second, *rest = z
    exp, divide, subtract, times = np.exp, np.divide, np.subtract, n.dot
    less_top = np.hstack([np.eye(k, dtype=z.dtype), np.full((k, 1), -1, z.dtype)])
    shift: Step = partial(subtract, z, top, shifted) if tall is None else partial(less_top.dot, tall, shifted)

    def step() -> None:
        clip(first, second, infinity, top)  # the larger of two; NumPy's maximum with `out` costs twice as much
        for each in rest:
            clip(top, each, infinity, top)
        shift()
        exp(shifted, e)
        times(e, sums)
        divide(e, sums, dz)
        subtract(dz, t, dz)

    return step


def _general(site: LossSite) -> Step:
    shift, evidence, dz, t = _shift(site), site.evidence, site.dz, site.t
    if dz is None:
        return shift
    sums, mass = (site.scratch(name, (*site.z.shape[:-1], 1)) for name in ("sums", "mass"))

    def derivative() -> None:
        shift()
        np.exp(evidence, dz)
        total(dz, -1, None, sums, True)
        total(t, -1, None, mass, True)
        np.divide(mass, sums, sums)
        np.multiply(dz, sums, dz)
        np.subtract(dz, t, dz)

    return divided(site, derivative)


def _shift(site: LossSite) -> Step:
    """Evidence: z less the largest of its row, so that the right answer's is 0 exactly when it is the top one."""
    z, evidence, top, subtract = site.z, site.evidence, site.scratch("top", (*site.z.shape[:-1], 1)), np.subtract

    def shift() -> None:
        largest(z, -1, None, top, True)
        subtract(z, top, evidence)

    return shift
