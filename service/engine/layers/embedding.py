"""Embedding: a vector of its own for every id of a vocabulary."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Initial, LayerPlan, LayerSpec, Parameter, Shape, Site, Step, Unfit, Units

SHORT = 65_536  # ids that 16 bits tell apart, which are sorted ten times faster
NARROW = 256  # numbers that reduceat adds up in the time of a product of one row
BLOCK = 128  # rows that wait in the second cache to be added up


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
            scatter_rows(site, ids.reshape(-1), flat.reshape(1, -1, W.shape[1]), site.gradient["weight"][None])

        return forward, backward


def scatter_rows(site: Site, ids: Array, rows: Array, out: Array) -> None:
    """out[g, v] = sum of the rows of g whose id is v, in their order. ids: (n,), rows: (G, n, k), out: (G, vocabulary,
    k), without gaps in memory: of others NumPy would first take a copy."""
    order = ids.astype(np.uint16 if out.shape[1] <= SHORT else np.intp).argsort(kind="stable")
    own = ids[order]
    starts = np.flatnonzero(np.concatenate(([True], own[1:] != own[:-1])))
    out.fill(0)
    if len(starts) * NARROW > rows.size:
        out[:, own[starts]] = np.add.reduceat(rows[:, order], starts, axis=1)
        return
    bounds = [*starts.tolist(), len(ids)]
    for v, begin, end in zip(own[starts].tolist(), bounds, bounds[1:], strict=False):
        _add_up(site, rows, order[begin:end], out[:, v])


def _add_up(site: Site, rows: Array, chosen: Array, out: Array) -> None:
    """out = sum of the chosen rows. rows: (G, n, k), out: (G, k)."""
    groups, _, k = rows.shape
    near, part = site.loose("scatter_near", (groups * BLOCK * k,)), site.loose("scatter_part", (groups, k))
    for at in range(0, len(chosen), BLOCK):
        some = chosen[at : at + BLOCK]
        close = near[: groups * len(some) * k].reshape(groups, -1, k)
        rows.take(some, 1, close, "clip")
        np.matmul(np.ones(len(some), rows.dtype), close, part if at else out)
        if at:
            np.add(out, part, out)
