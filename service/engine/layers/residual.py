"""A residual block: a row of layers and a path around it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import LayerPlan, LayerSpec, Shape, Site, Step, Unfit
from service.engine.row import RowPlan, Unfits, bind_row, fuse, plan_row

if TYPE_CHECKING:
    from service.engine.layers import Layer


class Residual(LayerSpec):
    """y = x + f(x), f the row of layers inside, which must keep the shape. He et al. 2015.

    x, y: (batch, ...). Names of its parameters carry the inner layer's number: `3.0.weight`.
    """

    kind: Literal["residual"] = "residual"
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1, max_length=100)] = Field(
        description="The layers of f."
    )

    def row(self, shape: Shape) -> RowPlan:
        """The inner row planned. Raises Unfit with the inner layer's place."""
        try:
            return fuse(plan_row(self.layers, shape))
        except Unfits as inner:
            index, fault = inner.faults[0]
            raise Unfit(fault.message, f"/layers/{index}{fault.place}", fault.hint, shape, fault.code) from None

    def plan(self, shape: Shape) -> LayerPlan:
        row = self.row(shape)
        if row.out.dims != shape.dims:
            sizes = f"{list(shape.dims)} became {list(row.out.dims)}"
            raise Unfit(f"the layers inside must keep the shape, but {sizes}", "/layers", assume=shape)
        return LayerPlan(shape, row.parameters, row.flops + shape.size)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        row = self.row(shape)
        return row.memory(rows, backward) + 2 * rows * (shape.size + row.widest)

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, dy, dx = site.x, site.y, site.dy, site.dx
        f = site.scratch("f", site.plan.shape.dims)
        df = site.scratch("df", site.plan.shape.dims) if site.backward else f
        ahead, back = bind_row(self.row(site.shape), replace(site, y=f, dy=df, ones=None))

        def forward() -> None:
            for step in ahead:
                step()
            np.add(f, x, y)

        def backward() -> None:
            np.copyto(df, dy)
            for step in back:
                step()
            if dx is not None:
                np.add(dx, dy, dx)

        return forward, backward
