"""Embedding: a vector of its own for every id of a vocabulary."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Initial, LayerPlan, LayerSpec, Parameter, Shape, Site, Step, Unfit, Units

ONE_HOT_MOST = 256  # ids up to which a product with one-hot rows beats sorting them


class Embedding(LayerSpec):
    """y = W[x]. x: (batch, time) ids below the vocabulary's size v, W: (v, units), y: (batch, time, units).

    Bengio et al. 2003.
    """

    kind: Literal["embedding"] = "embedding"
    units: Units = Field(description="Size of a vector.")
    initial: Initial | None = Field(default=None, description="Start of the vectors; by default glorot.")
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        if shape.vocabulary is None:
            raise Unfit("reads ids of a vocabulary, but its input is numbers", hint="leave it out, or use dense")
        size = (shape.vocabulary, self.units)
        out = Shape((*shape.dims, self.units), timed=shape.timed)
        return LayerPlan(out, (Parameter("weight", size, size, self.initial),), flops=0, workspace=2 * shape.size)

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, W = site.x, site.theta["weight"]
        y, dy = (each.swapaxes(0, 1) if site.x.ndim == 2 else each for each in (site.y, site.dy))
        turned = site.x.ndim == 2
        ids = site.loose("ids", x.shape[::-1] if turned else x.shape, np.intp)
        straight = y.flags.c_contiguous
        out = y if straight else site.loose("out", y.shape)

        def forward() -> None:
            np.copyto(ids, x.T if turned else x)
            W.take(ids, 0, out, "clip")
            if not straight:
                np.copyto(y, out)

        def backward() -> None:
            flat = np.ascontiguousarray(dy) if not dy.flags.c_contiguous else dy
            scatter_rows(site, ids.reshape(-1), flat.reshape(-1, W.shape[1]), site.gradient["weight"])

        return forward, backward


def scatter_rows(site: Site, ids: Array, rows: Array, out: Array) -> None:
    """out[v] = sum of the rows whose id is v. ids: (n,), rows: (..., n, k), out: (..., vocabulary, k)."""
    size = out.shape[-2]
    if size <= ONE_HOT_MOST:
        hot = site.loose("one_hot", (len(ids), size))
        hot.fill(0)
        hot[np.arange(len(ids)), ids] = 1
        np.matmul(hot.T, rows, out)
        return
    order = ids.argsort(kind="stable")
    own = ids[order]
    starts = np.flatnonzero(np.concatenate(([True], own[1:] != own[:-1])))
    out.fill(0)
    out[..., own[starts], :] = np.add.reduceat(rows[..., order, :], starts, axis=-2)
