"""Long short-term memory: a cell beside the state, and gates that decide what enters, stays and is told."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Layout, Shape, Site, Step, Units
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
from service.engine.layers.recurrent_weights import AtTime


class Lstm(LayerSpec):
    """c_t = f c_{t-1} + i g, h_t = o tanh(c_t); i, f, o = sigmoid and g = tanh of x_t W + b_ih + h_{t-1} U + b_hh.

    Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; gates in PyTorch's order i, f, g, o.
    x: (batch, time, n) numbers or (batch, time) ids; y: (batch, time, units), or (batch, units) of the last step.
    The forget gate's bias may begin at 1 (Jozefowicz et al. 2015).
    """

    kind: Literal["lstm"] = "lstm"
    units: Units = Field(description="Size of the state and of the cell.")
    output: Output = Field(default="sequence", description="Every step's output, or the last one's.")
    recurrent_dropout: Rate = Field(default=0.0, description="Share of the state dropped, one mask a sequence.")
    forget_bias: float = Field(
        default=0.0, ge=-100, le=100, description="Start of the forget gate's bias; 1 remembers more at first."
    )
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        plan = plan_recurrent(shape, self.units, 4, 6, self.output)
        begun = (replace(each, value=(0.0, self.forget_bias, 0.0, 0.0)) if each.name == "bias_ih_l0" else each
                 for each in plan.parameters)  # fmt: skip
        return replace(plan, parameters=tuple(begun))

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        return recurrent_memory(shape, plan, rows, backward)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        return bind_recurrent(
            site, Kind((0.5, 0.5, 1.0, 0.5), _cell, kept=6), self.units, self.output, self.recurrent_dropout
        )


def _cell(tape: Tape) -> Cell:
    """Gates in the order o, i, f, g. sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, so one tanh covers them; the halves are in
    the weights. c stands behind g, so that one product makes i g and f c."""
    p, u, h, a = tape.p, tape.u, tape.h, tape.scratch("a", 5)
    gates, sigmoids, entering, values, o, c = a[:4], a[:3], a[1:3], a[3:], a[0], a[4]
    both, tanh_c = tape.scratch("both", 2), tape.scratch("tanh_c", 1)[0]
    ig, fc = both
    half = np.array(0.5, a.dtype)
    keep = _factors(tape, a, both, tanh_c) if tape.factors else None

    def step(t: int) -> None:
        np.add(u, p[t], gates)
        np.tanh(gates, gates)
        np.multiply(sigmoids, half, sigmoids)
        np.add(sigmoids, half, sigmoids)
        np.multiply(entering, values, both)
        np.add(fc, ig, c)
        np.tanh(c, tanh_c)
        np.multiply(o, tanh_c, h[t + 1])
        if keep is not None:
            keep(t)

    if keep is None:
        return Cell(step, step, (c,))
    dc, part, dh = tape.scratch("dc", 1)[0], tape.scratch("part", 1)[0], tape.dh
    k = [(k[0], k[1:4], k[4], k[5]) for k in tape.factors]
    d = [(d[0], d[1:]) for d in tape.d]

    def back(t: int) -> None:
        (k_o, k_ifg, k_c, f), (d_o, d_ifg), dh_t = k[t], d[t], dh[t + 1]
        np.multiply(dh_t, k_o, d_o)
        np.multiply(dh_t, k_c, part)
        np.add(dc, part, dc)
        np.multiply(dc, k_ifg, d_ifg)
        np.multiply(dc, f, dc)

    return Cell(step, back, (c,), (dc,))


def _factors(tape: Tape, a: Array, both: Array, tanh_c: Array) -> AtTime:
    """What dh and dc will be multiplied with, while all of it is in the cache.

    By o: (1 - o) h; by i, f: (1 - i) i g, (1 - f) f c; by g: i - i g g; by c: o - h tanh(c); and f.
    """
    h, one, part = tape.h, np.array(1, a.dtype), tape.scratch("part", 1)[0]
    sigmoids, (o, i, f, g, _) = a[:3], a
    left, ig = tape.scratch("left", 3), both[0]
    left_o, left_if = left[0], left[1:]
    outs = [(k[0], k[1:3], k[3], k[4], k[5]) for k in tape.factors]

    def keep(t: int) -> None:
        (k_o, k_if, k_g, k_c, k_f), told = outs[t], h[t + 1]
        np.subtract(one, sigmoids, left)
        np.multiply(left_o, told, k_o)
        np.multiply(left_if, both, k_if)
        np.multiply(ig, g, part)
        np.subtract(i, part, k_g)
        np.multiply(told, tanh_c, part)
        np.subtract(o, part, k_c)
        np.copyto(k_f, f)

    return keep
