"""Gated recurrent unit: one state, and gates that decide how much of it is rewritten."""

from __future__ import annotations

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


class Gru(LayerSpec):
    """h_t = (1 - z) n + z h_{t-1}, n = tanh(x_t W_n + b_ih_n + r (h_{t-1} U_n + b_hh_n)), r and z sigmoid gates.

    Cho et al. 2014 in the reset-after form that PyTorch, Keras and ONNX compute; gates in PyTorch's order r, z, n.
    x: (batch, time, n) numbers or (batch, time) ids; y: (batch, time, units), or (batch, units) of the last step.
    """

    kind: Literal["gru"] = "gru"
    units: Units = Field(description="Size of the state.")
    output: Output = Field(default="sequence", description="Every step's output, or the last one's.")
    recurrent_dropout: Rate = Field(default=0.0, description="Share of the state dropped, one mask a sequence.")
    takes_indices: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return plan_recurrent(shape, self.units, 3, 5, self.output)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        return recurrent_memory(shape, plan, rows, backward)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        kind = Kind((0.5, 0.5, 1.0), _cell, kept=5, apart=True, rest=True)
        return bind_recurrent(site, kind, self.units, self.output, self.recurrent_dropout)


def _cell(tape: Tape) -> Cell:
    """x brings p to n, r, z; h brings u to r, z, n, and the reset gate weighs the last of it."""
    u, h, a = tape.u, tape.h, tape.scratch("a", 3)
    n, sigmoids = a[0], a[1:]
    p, entering, product = [(p[0], p[1:]) for p in tape.p], u[:2], u[2]
    both, gap, b = tape.scratch("both", 2), tape.scratch("gap", 1)[0], tape.scratch("b_n", 1)[0]
    rq, held = both
    half, bias = np.array(0.5, a.dtype), tape.site.theta["bias_hh_l0"][-tape.units :]
    gates = [(k[3:], k[3], k[4]) for k in tape.factors] or [(sigmoids, a[1], a[2])] * len(h)
    keep = _factors(tape, n, both) if tape.factors else None

    def step(t: int) -> None:
        if t == 0:
            np.copyto(b, bias)
        (p_n, p_rz), (rz, r, z) = p[t], gates[t]
        np.add(entering, p_rz, sigmoids)
        np.tanh(sigmoids, sigmoids)
        np.multiply(sigmoids, half, sigmoids)
        np.add(sigmoids, half, rz)
        np.add(product, b, rq)
        np.multiply(r, rq, rq)
        np.add(p_n, rq, n)
        np.tanh(n, n)
        np.subtract(h[t], n, gap)
        np.multiply(z, gap, held)
        np.add(n, held, h[t + 1])
        if keep is not None:
            keep(t)

    if keep is None:
        return Cell(step, step)
    rest, dh = tape.rest, tape.dh
    k, d = ([list(each) for each in whole] for whole in (tape.factors, tape.d))
    assert rest is not None

    def back(t: int) -> None:
        (k_n, k_r, k_z, r, z), (d_n, d_r, d_z, d_product), dh_t = k[t], d[t], dh[t + 1]
        np.multiply(dh_t, k_n, d_n)
        np.multiply(dh_t, k_z, d_z)
        np.multiply(d_n, k_r, d_r)
        np.multiply(d_n, r, d_product)
        np.multiply(dh_t, z, rest)

    return Cell(step, back)


def _factors(tape: Tape, n: Array, both: Array) -> AtTime:
    """dh/dn = (1 - z)(1 - n^2), dn/dr = q r (1 - r), dh/dz = (h - n) z (1 - z); r and z lie behind them."""
    one, left, part = np.array(1, n.dtype), tape.scratch("left", 2), tape.scratch("part", 1)[0]
    left_z = left[1]
    places = [(k[0], k[1:3], k[3:]) for k in tape.factors]

    def keep(t: int) -> None:
        k_n, k_rz, rz = places[t]
        np.subtract(one, rz, left)
        np.multiply(left, both, k_rz)
        np.multiply(n, n, part)
        np.multiply(part, left_z, part)
        np.subtract(left_z, part, k_n)

    return keep
