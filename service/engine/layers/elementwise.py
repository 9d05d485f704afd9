"""What layers that work number by number share: a plan that keeps the shape, constants and working memory."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from service.engine.contract import Array, LayerPlan, LayerSpec, Shape, Site


class Activation(LayerSpec):
    """An activation maps every number by itself: the shape stays."""

    elementwise: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape, flops=8 * shape.size, workspace=2 * shape.size)


def logistic(x: Array, out: Array, half: Array) -> None:
    """sigmoid(x) into `out`, through tanh: the fastest way NumPy has, and never overflows."""
    np.multiply(x, half, out)
    np.tanh(out, out)
    np.multiply(out, half, out)
    np.add(out, half, out)


def constant(value: float, site: Site) -> Array:
    """A 0-d array: a Python number costs a conversion in every call."""
    return np.array(value, site.dtype)


def spare(site: Site, dtype: Any = None, name: str = "t") -> Array:
    """Working memory shaped and laid like x."""
    return site.alike(name if dtype is None else f"{name}_{np.dtype(dtype)}", dtype)
