"""Simple recurrent network: the state is the last output."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import LayerPlan, LayerSpec, Layout, Shape, Site, Step, Units
from service.engine.layers.recurrence import (
    Cell,
    Kind,
    Output,
    Rate,
    Tape,
    bind_recurrent,
    plan_recurrent,
    recurrent_memory,
    time_first,
)


class SimpleRnn(LayerSpec):
    """h_t = tanh(x_t W + b_ih + h_{t-1} U + b_hh). Elman 1990; PyTorch's RNN.

    x: (batch, time, n) numbers or (batch, time) ids; y: (batch, time, units), or (batch, units) of the last step.
    dh_{t-1} = (dh_t (1 - h_t^2)) U': through many steps the product of these factors vanishes or explodes.
    """

    kind: Literal["simple_rnn"] = "simple_rnn"
    units: Units = Field(description="Size of the state.")
    output: Output = Field(default="sequence", description="Every step's output, or the last one's.")
    recurrent_dropout: Rate = Field(default=0.0, description="Share of the state dropped, one mask a sequence.")
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return plan_recurrent(shape, self.units, 1, 1, self.output)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        return recurrent_memory(shape, plan, rows, backward)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        return bind_recurrent(site, Kind((1.0,), _cell, kept=1), self.units, self.output, self.recurrent_dropout)


def _cell(tape: Tape) -> Cell:
    u, h, dh, a, one = tape.u[0], tape.h, tape.dh, tape.scratch("a", 1)[0], np.array(1, tape.u.dtype)
    p, d, factors = ([each[0] for each in whole] for whole in (tape.p, tape.d, tape.factors))

    def step(t: int) -> None:
        np.add(u, p[t], a)
        np.tanh(a, h[t + 1])
        if factors:
            np.multiply(h[t + 1], h[t + 1], a)
            np.subtract(one, a, factors[t])

    def back(t: int) -> None:
        np.multiply(dh[t + 1], factors[t], d[t])

    return Cell(step, back)
