"""Dense: every output sees every input."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from pydantic import Field

from service.engine.contract import (
    Array,
    Initial,
    LayerPlan,
    LayerSpec,
    Layout,
    Parameter,
    Shape,
    Site,
    Step,
    Unfit,
    Units,
)
from service.engine.layers.activations import ActivationField

FOLD_BELOW = 16_384  # numbers; in a small layer the bias is one more row of the weights and two calls are saved


class Dense(LayerSpec):
    """y = activation(x W + b), on the last axis.

    x: (batch, ..., n), W: (n, units), b: (units,), y: (batch, ..., units). PyTorch's Linear keeps W transposed.
    """

    kind: Literal["dense"] = "dense"
    units: Units = Field(description="Number of outputs.")
    activation: ActivationField | None = Field(default=None, description="What follows; nothing means linear.")
    bias: bool = Field(default=True, description="Whether b is added.")
    initial: Initial | None = Field(default=None, description="Start of W; by default he before relu, else glorot.")

    def parts(self) -> tuple[LayerSpec, ...]:
        return (self,) if self.activation is None else (self, self.activation)

    def plan(self, shape: Shape) -> LayerPlan:
        if not shape.dims:
            raise Unfit("needs at least one number per row")
        n, units = shape.dims[-1], self.units
        weight = Parameter("weight", (n, units), (n, units), self.initial, axes=(1, 0))
        parameters = (weight, Parameter("bias", (units,))) if self.bias else (weight,)
        out = Shape((*shape.dims[:-1], units), timed=shape.timed)
        return LayerPlan(out, parameters, flops=2 * out.size * n)

    def layout(self, shape: Shape, rows: int) -> Layout:
        small = self.bias and len(shape.dims) == 1 and rows * max(shape.size, self.units) <= FOLD_BELOW
        return "ones" if small else "rows"

    def bind(self, site: Site) -> tuple[Step, Step]:
        if site.ones is not None:
            return _folded(site, site.ones)
        x, y, dy = in_rows(site.x), in_rows(site.y), in_rows(site.dy)
        dx = None if site.dx is None else in_rows(site.dx)
        W, b = site.theta["weight"], site.theta.get("bias")
        dW, db = site.gradient.get("weight"), site.gradient.get("bias")
        ones = np.ones(len(x), site.dtype)
        x_t, W_t, matmul, add = x.T, W.T, np.matmul, np.add

        def forward() -> None:
            matmul(x, W, y)
            if b is not None:
                add(y, b, y)

        def backward() -> None:
            matmul(x_t, dy, dW)
            if b is not None:
                ones.dot(dy, db)
            if dx is not None:
                matmul(dy, W_t, dx)

        return forward, backward


def in_rows(array: Array) -> Array:
    """(everything else, last axis), the same memory."""
    view = array.reshape(-1, array.shape[-1])
    if not np.may_share_memory(view, array):
        raise ValueError("this layout has no rows")
    return view


def stacked(W: Array, b: Array) -> Array:
    """(n + 1, units): W with b as its last row, the same memory; they lie side by side in the vector."""
    if b.ctypes.data != W.ctypes.data + W.nbytes:
        raise ValueError("weight and bias are not neighbours")
    return as_strided(W, (len(W) + 1, W.shape[1]))


def _folded(site: Site, x: Array) -> tuple[Step, Step]:
    """The small layer: x has a column of ones, the bias is the last row of W; one call each way."""
    y, dy, dx, W = site.y, site.dy, site.dx, site.theta["weight"]
    joined = stacked(W, site.theta["bias"])
    x_t, W_t, dy_times = x.T, W.T, dy.dot
    if y.flags.c_contiguous:
        forward: Step = partial(x.dot, joined, y)
    else:
        forward = partial(np.matmul, x, joined, y)
    if not site.backward:
        return forward, forward
    d_joined, times_t = stacked(site.gradient["weight"], site.gradient["bias"]), x_t.dot
    if dx is None:
        return forward, partial(times_t, dy, d_joined)

    def backward() -> None:
        times_t(dy, d_joined)
        dy_times(W_t, dx)

    return forward, backward
