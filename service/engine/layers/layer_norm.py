"""Layer normalisation: the last axis of every row brought to mean 0 and variance 1, then scaled and shifted."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Parameter, Shape, Site, Step, Unfit
from service.engine.layers.elementwise import constant
from service.engine.layers.kernel import in_turn


class LayerNorm(LayerSpec):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and (biased) variance over the last axis.

    x, y: (batch, ..., n); weight is gamma, bias is beta, (n,) each. PyTorch's LayerNorm(n).
    dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(variance + epsilon), g = dy gamma. Ba et al. 2016.
    """

    kind: Literal["layer_norm"] = "layer_norm"
    epsilon: float = Field(default=1e-5, gt=0, le=1, description="Added to the variance.")
    overwrites: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        if not shape.dims:
            raise Unfit("needs at least one number per row")
        n = shape.dims[-1:]
        own = 2 * shape.size + 3 * shape.size // n[0]
        return LayerPlan(shape, (Parameter("weight", n, value=1.0), Parameter("bias", n)), 8 * shape.size, own)

    def bind(self, site: Site) -> tuple[Step, Step | None]:
        x, y, (*places, n) = site.x, site.y, site.shape.dims
        gamma, beta, share = site.theta["weight"], site.theta["bias"], constant(1 / n, site)
        xhat, t = site.scratch("xhat", site.shape.dims), site.scratch("t", site.shape.dims)
        mean, rstd = site.scratch("mean", (*places, 1)), site.scratch("rstd", (*places, 1))
        x_rows, load = _rows(x, t)
        each, epsilon = np.ones(n, site.dtype), constant(self.epsilon, site)
        mean_row, squares = mean.reshape(-1), rstd[..., 0]

        def forward() -> None:
            load()
            x_rows.dot(each, mean_row)
            np.multiply(mean, share, mean)
            np.subtract(x, mean, xhat)
            np.vecdot(xhat, xhat, squares)
            np.multiply(rstd, share, rstd)
            np.add(rstd, epsilon, rstd)
            np.sqrt(rstd, rstd)
            np.reciprocal(rstd, rstd)
            np.multiply(xhat, rstd, xhat)
            np.multiply(xhat, gamma, t)
            np.add(t, beta, y)

        return forward, _backward(site, xhat, rstd, t) if site.backward else None


def _backward(site: Site, xhat: Array, rstd: Array, t: Array) -> Step:
    """Row sums by products with gamma, column sums by products with ones: nothing is reduced axis by axis."""
    dy, dx, gamma, share = site.dy, site.dx, site.theta["weight"], constant(1 / t.shape[-1], site)
    d_gamma, d_beta = site.gradient.get("weight"), site.gradient.get("bias")
    g, g_xhat = site.scratch("g", rstd.shape[1:]), site.scratch("g_xhat", rstd.shape[1:])
    g_row, g_xhat_row, t_rows = g.reshape(-1), g_xhat.reshape(-1), t.reshape(-1, t.shape[-1])
    dy_rows, load = _rows(dy, t)
    ones = np.ones(len(t_rows), site.dtype)

    def backward() -> None:
        load()
        ones.dot(dy_rows, d_beta)
        dy_rows.dot(gamma, g_row)
        np.multiply(dy, xhat, t)
        ones.dot(t_rows, d_gamma)
        if dx is None:
            return
        t_rows.dot(gamma, g_xhat_row)
        np.multiply(g, share, g)
        np.multiply(g_xhat, share, g_xhat)
        np.multiply(xhat, g_xhat, t)
        np.multiply(dy, gamma, dx)
        np.subtract(dx, t, dx)
        np.subtract(dx, g, dx)
        np.multiply(dx, rstd, dx)

    return backward


def _rows(array: Array, spare: Array) -> tuple[Array, Step]:
    """((all but the last axis, last axis), what to do first): the array itself, or a copy in the spare one."""
    flat = array.reshape(-1, array.shape[-1])
    if np.may_share_memory(flat, array):
        return flat, in_turn()
    return spare.reshape(flat.shape), partial(np.copyto, spare, array)
