"""Long short-term memory: a cell beside the state, and gates that decide what enters, stays and is told."""

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
    by_time,
    plan_recurrent,
    time_first,
)


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
    site, gates, h = tape.site, by_time(tape.gates), list(tape.h)
    stretch = np.array([0.5, 0.5, 1, 0.5], tape.h.dtype)[:, None, None]
    shift = np.array([0.5, 0.5, 0, 0.5], tape.h.dtype)[:, None, None]
    cells, told = site.loose("c", tape.h.shape), tape.scratch("tanh_c")
    c, tanh_c, ig = list(cells), list(told), site.loose("ig", tape.h.shape[1:])

    def step(t: int) -> None:
        a, c_t, tanh = gates[t], c[t + 1], tanh_c[t]
        i, f, g, o = a
        np.tanh(a, a)
        np.multiply(a, stretch, a)
        np.add(a, shift, a)
        np.multiply(f, c[t], c_t)
        np.multiply(i, g, ig)
        np.add(c_t, ig, c_t)
        np.tanh(c_t, tanh)
        np.multiply(o, tanh, h[t + 1])

    if not site.backward:
        return Cell(step, lambda: None, lambda t: None, (cells,))
    dc, dh = site.loose("dc", tape.h.shape[1:]), list(tape.dh)
    k_c, k = tape.scratch("k_c"), site.loose("k", tape.gates.shape)
    factor_c, factor, d = list(k_c), by_time(k[:3]), by_time(tape.d_gates)
    factor_o, f_at = list(k[3]), list(tape.gates[1])
    one = np.array(1, tape.h.dtype)

    def factors() -> None:
        """What dc and dh are multiplied with, for all times at once: no step waits for it."""
        i, f, g, o = tape.gates
        for gate, out, times in ((i, k[0], g), (f, k[1], cells[:-1]), (o, k[3], told)):
            np.subtract(one, gate, out)
            np.multiply(out, gate, out)
            np.multiply(out, times, out)
        for tanh, out, times in ((g, k[2], i), (told, k_c, o)):
            np.multiply(tanh, tanh, out)
            np.subtract(one, out, out)
            np.multiply(out, times, out)

    def back(t: int) -> None:
        d_t, dh_t = d[t], dh[t + 1]
        np.multiply(dh_t, factor_o[t], d_t[3])
        np.multiply(dh_t, factor_c[t], ig)
        np.add(dc, ig, dc)
        np.multiply(dc, factor[t], d_t[:3])
        np.multiply(dc, f_at[t], dc)

    return Cell(step, factors, back, (cells,), (dc,))
