"""Dense: every output sees every input."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

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
    features_first,
)
from service.engine.layers.activations import ActivationField
from service.engine.layers.matmul import by_columns

FOLD_BELOW = 4096  # numbers; in a small layer the bias is one more row of the weights and two calls are saved
SKINNY_ROWS, SKINNY_LEAST, SKINNY_MOST = 32, 32, 112  # rows, and heights of a block, measured on OpenBLAS 0.3.31


class Dense(LayerSpec):
    """y = activation(x W + b), on the last axis.

    x: (batch, ..., n), W: (n, units), b: (units,), y: (batch, ..., units). Rumelhart et al. 1986.
    PyTorch's Linear keeps W transposed.
    """

    kind: Literal["dense"] = "dense"
    writes_rows: ClassVar[bool] = True
    units: Units | None = Field(
        default=None, description="Number of outputs. The last layer may leave it out: its target tells it."
    )
    activation: ActivationField | None = Field(default=None, description="What follows; nothing means linear.")
    bias: bool = Field(default=True, description="Whether b is added.")
    initial: Initial | None = Field(default=None, description="Start of W; by default he before relu, else glorot.")

    def parts(self) -> tuple[LayerSpec, ...]:
        return (self,) if self.activation is None else (self, self.activation)

    def plan(self, shape: Shape) -> LayerPlan:
        if not shape.dims:
            raise Unfit("needs at least one number per row")
        n, units = shape.dims[-1], self.units
        if units is None:
            hint = "say how many; only at the network's end does the target tell"
            raise Unfit("'units' is missing", "/units", hint, code="missing")
        weight = Parameter("weight", (n, units), (n, units), self.initial, axes=(1, 0))
        parameters = (weight, Parameter("bias", (units,))) if self.bias else (weight,)
        out = Shape((*shape.dims[:-1], units), timed=shape.timed)
        return LayerPlan(out, parameters, flops=2 * out.size * n)

    def layout(self, shape: Shape, rows: int) -> Layout:
        if len(shape.dims) != 1:
            return "rows"
        small = self.bias and rows * max(shape.size, self.units or 0) <= FOLD_BELOW
        return "ones" if small else (1, 0)  # features first: dy W' is then a product without a transposed copy

    def bind(self, site: Site) -> tuple[Step, Step]:
        if site.ones is not None:
            return _folded(site, site.ones)
        x, y, dy = in_rows(site.x), in_rows(site.y), in_rows(site.dy)
        dx = None if site.dx is None else in_rows(site.dx)
        W, b = site.theta["weight"], site.theta.get("bias")
        matmul, add, up = np.matmul, np.add, by_columns(x, W, y)

        def forward() -> None:
            matmul(*up)
            if b is not None:
                add(y, b, y)

        if not site.backward:
            return forward, forward
        db, ones, products = (
            site.gradient.get("bias"),
            np.ones(len(x), site.dtype),
            _outer(x, dy, site.gradient["weight"]),
        )

        down = None if dx is None else by_columns(dy, W.T, dx)

        def backward() -> None:
            matmul(*products)
            if db is not None:
                ones.dot(dy, db)
            if down is not None:
                matmul(*down)

        return forward, backward


def _outer(x: Array, dy: Array, dW: Array) -> tuple[Array, Array, Array]:
    """(x', dy, dW) as matmul takes them; with few rows in blocks of dW, which stay in the cache: up to 1.4 x faster."""
    rows, n = x.shape
    heights = [h for h in range(SKINNY_LEAST, SKINNY_MOST + 1) if n % h == 0 and n > h]
    if rows > SKINNY_ROWS or not heights or not x.flags.c_contiguous:
        return x.T, dy, dW
    h = heights[-1]
    return x.reshape(rows, n // h, h).transpose(1, 2, 0), dy, dW.reshape(n // h, h, dW.shape[1])


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
    """The small layer: x (n + 1, rows) ends with ones, the bias is the last row of W; one call each way."""
    y, dy, dx, W = site.y, site.dy, site.dx, site.theta["weight"]
    joined = stacked(W, site.theta["bias"])
    forward: Step = partial(joined.T.dot, x, y.T) if features_first(y) else partial(x.T.dot, joined, y)
    if not site.backward:
        return forward, forward
    d_joined, times = stacked(site.gradient["weight"], site.gradient["bias"]), x.dot
    if dx is None:
        return forward, partial(times, dy, d_joined)
    down: Step = partial(W.dot, dy.T, dx.T) if features_first(dx) else partial(dy.dot, W.T, dx)

    def backward() -> None:
        times(dy, d_joined)
        down()

    return forward, backward
