"""Softmax and its logarithm, over the last axis."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np

from service.engine.contract import Array, LayerPlan, LayerSpec, Shape, Site, Step
from service.engine.fast import largest, total


class Softmax(LayerSpec):
    """y_i = exp(x_i) / sum_j exp(x_j), shifted by the largest x; dx = y (dy - sum_j dy_j y_j).

    x, y: (batch, ..., n), over the last axis. Bridle 1990.
    """

    kind: Literal["softmax"] = "softmax"
    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape, flops=10 * shape.size, workspace=shape.size)

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        top, t = site.scratch("top", (*site.shape.dims[:-1], 1)), site.scratch("t", site.shape.dims)
        one = top.reshape(()) if top.size == 1 else top  # a number is subtracted twice as fast as an axis of one
        subtract, exp, divide, add_up = np.subtract, np.exp, np.divide, _sums(y, top)

        def forward() -> None:
            largest(x, -1, None, top, True)
            subtract(x, one, y)
            exp(y, y)
            add_up()
            divide(y, one, y)

        def backward() -> None:
            np.multiply(dy, y, t)
            total(t, -1, None, top, True)
            np.subtract(dy, top, t)
            np.multiply(t, y, dx)

        return forward, backward


class LogSoftmax(LayerSpec):
    """y_i = x_i - log sum_j exp(x_j), shifted by the largest x; dx = dy - exp(y) sum_j dy_j.

    x, y: (batch, ..., n), over the last axis. The logarithm of softmax, Bridle 1990.
    """

    kind: Literal["log_softmax"] = "log_softmax"
    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True
    reads_output: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape, flops=10 * shape.size, workspace=shape.size)

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        top, t = site.scratch("top", (*site.shape.dims[:-1], 1)), site.scratch("t", site.shape.dims)

        def forward() -> None:
            largest(x, -1, None, top, True)
            np.subtract(x, top, y)
            np.exp(y, t)
            total(t, -1, None, top, True)
            np.log(top, top)
            np.subtract(y, top, y)

        def backward() -> None:
            total(dy, -1, None, top, True)
            np.exp(y, t)
            np.multiply(t, top, t)
            np.subtract(dy, t, dx)

        return forward, backward


def _sums(y: Array, out: Array) -> Step:
    """out = the sums over the last axis; as a product where y lies row by row, up to seven times faster."""
    if not y.flags.c_contiguous:
        return partial(total, y, -1, None, out, True)
    n = y.shape[-1]
    return partial(y.reshape(-1, n).dot, np.ones((n, 1), y.dtype), out.reshape(-1, 1))
