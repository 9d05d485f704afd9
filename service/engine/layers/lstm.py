"""Long short-term memory: a cell beside the state, and gates that decide what enters, stays and is told."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import LayerPlan, LayerSpec, Layout, Shape, Site, Step, Units
from service.engine.layers.recurrence import Cell, Kind, Output, Rate, Tape, bind_recurrent, plan_recurrent, time_first


class Lstm(LayerSpec):
    """c_t = f c_{t-1} + i g, h_t = o tanh(c_t); i, f, o = sigmoid and g = tanh of x_t W + b_ih + h_{t-1} U + b_hh.

    Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; gates in PyTorch's order i, f, g, o.
    x: (batch, time, n) numbers or (batch, time) ids; y: (batch, time, units), or (batch, units) of the last step.
    """

    kind: Literal["lstm"] = "lstm"
    units: Units = Field(description="Size of the state and of the cell.")
    output: Output = Field(default="sequence", description="Every step's output, or the last one's.")
    recurrent_dropout: Rate = Field(default=0.0, description="Share of the state dropped, one mask a sequence.")
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return plan_recurrent(shape, self.units, 4, self.output)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        return bind_recurrent(site, Kind((0.5, 0.5, 1.0, 0.5), _cell), self.units, self.output, self.recurrent_dropout)


def _cell(tape: Tape) -> Cell:
    """sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, so one tanh covers the four gates; the halves are in the weights."""
    site, gates, h = tape.site, list(tape.gates), list(tape.h)
    units, dtype = tape.h.shape[2], tape.h.dtype
    stretch = np.repeat(np.array([0.5, 0.5, 1, 0.5], dtype), units)
    shift = np.repeat(np.array([0.5, 0.5, 0, 0.5], dtype), units)
    cells, told = site.loose("c", tape.h.shape), tape.scratch("tanh_c")
    c, tanh_c, ig, parts = list(cells), list(told), site.loose("ig", tape.h.shape[1:]), tape.split(tape.gates, 4)

    def step(t: int) -> None:
        a, (i, f, g, o) = gates[t], parts[t]
        np.tanh(a, a)
        np.multiply(a, stretch, a)
        np.add(a, shift, a)
        np.multiply(f, c[t], c[t + 1])
        np.multiply(i, g, ig)
        np.add(c[t + 1], ig, c[t + 1])
        np.tanh(c[t + 1], tanh_c[t])
        np.multiply(o, tanh_c[t], h[t + 1])

    if not site.backward:
        return Cell(step, lambda: None, lambda t: None, (cells,))
    dc, dh = site.loose("dc", tape.h.shape[1:]), list(tape.dh)
    k_c, k = tape.scratch("k_c"), site.loose("k", tape.gates.shape)
    factor_c, factor, d = list(k_c), tape.split(k, 4), tape.split(tape.d_gates, 4)
    through = np.array(1, dtype)

    def factors() -> None:
        """What dc and dh are multiplied with, for all times at once: no step waits for it."""
        i, f, g, o = (tape.gates[:, :, n * units : (n + 1) * units] for n in range(4))
        k_i, k_f, k_g, k_o = (k[:, :, n * units : (n + 1) * units] for n in range(4))
        for gate, out, times in ((i, k_i, g), (f, k_f, cells[:-1]), (o, k_o, told)):
            np.subtract(through, gate, out)
            np.multiply(out, gate, out)
            np.multiply(out, times, out)
        np.multiply(g, g, k_g)
        np.subtract(through, k_g, k_g)
        np.multiply(k_g, i, k_g)
        np.multiply(told, told, k_c)
        np.subtract(through, k_c, k_c)
        np.multiply(k_c, o, k_c)

    def back(t: int) -> None:
        (di, df, dg, do), (k_i, k_f, k_g, k_o), f = d[t], factor[t], parts[t][1]
        np.multiply(dh[t + 1], k_o, do)
        np.multiply(dh[t + 1], factor_c[t], ig)
        np.add(dc, ig, dc)
        np.multiply(dc, k_i, di)
        np.multiply(dc, k_f, df)
        np.multiply(dc, k_g, dg)
        np.multiply(dc, f, dc)

    return Cell(step, factors, back, (cells,), (dc,))
