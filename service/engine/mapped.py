"""Large dense layers that answer from the pages of the model's file: nothing is copied, processes share what they read.

The file has W as PyTorch does, (units, n), and that is the better layout to answer in: (W x')' for several rows at once
is 1.3 to 1.8 x faster than x W. Two or three rows are quicker still one after the other, as long as a product of two
matrices costs so much more than one with a vector; where the border lies is measured when a program is bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from service import clock
from service.engine.contract import Array, LayerSpec, Layout, Shape, Site, Step
from service.engine.layers.dense import Dense, in_rows
from service.engine.row import RowPlan

LARGE = 1 << 18  # numbers of W: below, a copy costs nothing, and W fits the processor's cache
_FEW = 8  # rows: with more, one product has won on every machine seen
_TRIES = 3


class Mapped(LayerSpec):
    """What a dense layer does, forward alone. `weight`: (n, units), a turned view of the file's."""

    def layout(self, shape: Shape, rows: int) -> Layout:
        return (1, 0)

    def bind(self, site: Site) -> tuple[Step, Step]:
        x, y, b = in_rows(site.x), in_rows(site.y), site.theta.get("bias")
        add, product = np.add, _quicker(_ways(site.theta["weight"].T, x, y))

        def forward() -> None:
            product()
            if b is not None:
                add(y, b, y)

        return forward, forward


def _ways(W: Array, x: Array, y: Array) -> list[Step]:
    """y' = W x' at once, or row by row. W: (units, n), x: (rows, n), y: (rows, units)."""
    product, copy, x_t, y_t = np.matmul, np.copyto, x.T, y.T
    turned = y_t if y_t.flags.c_contiguous else np.empty(y_t.shape, y.dtype)
    column, answer = np.empty(x.shape[1], x.dtype), np.empty(len(W), y.dtype)

    def together() -> None:
        product(W, x_t, turned)
        if turned is not y_t:
            copy(y_t, turned)

    def singly() -> None:
        for i in range(len(x)):
            copy(column, x[i])
            product(W, column, answer)
            copy(y[i], answer)

    return [together, singly] if 1 < len(x) <= _FEW else [together]


def _quicker(ways: list[Step]) -> Step:
    """The way that takes the processor least."""

    def cost_s(way: Step) -> float:
        began_s = clock.processor_s()
        way()
        return clock.processor_s() - began_s

    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: min(cost_s(way) for _ in range(_TRIES)))


def mapped_weights(row: RowPlan, weights: Mapping[str, Array], dtype: np.dtype[np.generic]) -> dict[str, Array]:
    """The weights, as the layers know them, that need no copy: by name, (n, units)."""
    found = {}
    for part in row.parts:
        name = f"{part.index}.weight"
        if type(part.layer) is Dense and len(part.shape.dims) == 1:
            weight = weights.get(name)
            if weight is not None and weight.ndim == 2 and weight.size >= LARGE and weight.dtype == dtype:
                found[name] = weight.T
    return found


def mapped_row(row: RowPlan, names: Mapping[str, Array]) -> RowPlan:
    """The row whose layers of these weights read them where they are."""
    parts = tuple(
        replace(part, layer=Mapped()) if type(part.layer) is Dense and f"{part.index}.weight" in names else part
        for part in row.parts
    )
    return replace(row, parts=parts)
