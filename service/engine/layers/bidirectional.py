"""Bidirectional: one layer reads the sequence as it is, another of the same kind reads it from its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Shape, Site, Step
from service.engine.layers.gru import Gru
from service.engine.layers.lstm import Lstm
from service.engine.layers.simple_rnn import SimpleRnn

REVERSE = "_reverse"


class Bidirectional(LayerSpec):
    """y = [layer(x), back(layer'(back(x)))], back turning each row's valid steps round. Schuster and Paliwal 1997.

    x: (batch, time, n); y: (batch, time, 2 units), or (batch, 2 units) of each direction's last step. The second
    layer's weights have PyTorch's names, `weight_ih_l0_reverse` and so on. A stream is carried on only forwards.
    """

    kind: Literal["bidirectional"] = "bidirectional"
    layer: Annotated[SimpleRnn | Lstm | Gru, Field(discriminator="kind")] = Field(description="The recurrent layer.")
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        one = self.layer.plan(shape)
        other = tuple(replace(each, name=each.name + REVERSE) for each in one.parameters)
        out = replace(one.shape, dims=(*one.shape.dims[:-1], 2 * one.shape.dims[-1]))
        return LayerPlan(out, one.parameters + other, flops=2 * one.flops, workspace=4 * out.size + 2 * shape.size)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        return rows * plan.workspace + 2 * self.layer.memory(shape, self.layer.plan(shape), rows, backward)

    def bind(self, site: Site) -> tuple[Step, Step]:
        one = self.layer.plan(site.shape)
        turn = _turning(site)
        ahead, back = (self._half(site, one, name) for name in ("", REVERSE))
        steps, units = (self.layer.bind(ahead), self.layer.bind(back)), self.layer.units
        first, second = site.y[..., :units], site.y[..., units:]
        across = turn if self.layer.output == "sequence" else np.copyto

        def forward() -> None:
            turn(back.x, site.x)
            steps[0][0]()
            steps[1][0]()
            np.copyto(first, ahead.y)
            across(second, back.y)

        def backward() -> None:
            np.copyto(ahead.dy, site.dy[..., :units])
            across(back.dy, site.dy[..., units:])
            steps[0][1]()
            steps[1][1]()
            if site.dx is not None and ahead.dx is not None and back.dx is not None:
                turn(site.dx, back.dx)
                np.add(site.dx, ahead.dx, site.dx)

        return forward, backward

    def _half(self, site: Site, plan: LayerPlan, suffix: str) -> Site:
        """The site of one direction; both have arrays of their own."""
        here = replace(site, path=f"{site.path}{suffix or '_ahead'}", plan=plan)
        names = [each.name for each in plan.parameters]
        y = here.scratch("y", plan.shape.dims)
        return replace(
            here,
            x=site.x if not suffix else here.scratch("turned", site.shape.dims, site.x.dtype),
            y=y,
            dx=None if site.dx is None else here.scratch("d_in", site.shape.dims),
            dy=here.scratch("dy", plan.shape.dims) if site.backward else y,
            ones=None,
            theta={name: site.theta[name + suffix] for name in names},
            gradient={name: site.gradient[name + suffix] for name in names if site.gradient},
            stateful=site.stateful and not suffix,
        )


def _turning(site: Site) -> Callable[[Array, Array], object]:
    """(target, source): the valid steps of each row the other way round, padding where it was."""
    lengths = site.lengths
    if lengths is None:
        return lambda target, source: np.copyto(target, source[:, ::-1])
    clock = np.arange(site.shape.dims[0])

    def turn(target: Array, source: Array) -> None:
        places = np.where(clock < lengths[:, None], lengths[:, None] - 1 - clock, clock)
        wide = places.reshape(places.shape + (1,) * (source.ndim - 2))
        np.copyto(target, np.take_along_axis(source, wide, 1))

    return turn
