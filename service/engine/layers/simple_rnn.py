"""Simple recurrent network: the state is the last output."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import LayerPlan, LayerSpec, Layout, Shape, Site, Step, Units
from service.engine.layers.recurrence import Cell, Kind, Output, Rate, Tape, bind_recurrent, plan_recurrent, time_first


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
        return plan_recurrent(shape, self.units, 1, self.output)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        return bind_recurrent(site, Kind((1.0,), _cell), self.units, self.output, self.recurrent_dropout)


def _cell(tape: Tape) -> Cell:
    a, h, dh, da = list(tape.gates[0]), list(tape.h), list(tape.dh), list(tape.d_gates[0])
    one = np.array(1, tape.h.dtype)

    def step(t: int) -> None:
        np.tanh(a[t], h[t + 1])

    def factors() -> None:
        np.multiply(tape.h[1:], tape.h[1:], tape.gates[0])
        np.subtract(one, tape.gates, tape.gates)

    def back(t: int) -> None:
        np.multiply(dh[t + 1], a[t], da[t])

    return Cell(step, factors, back)
