"""Gated recurrent unit: one state, and gates that decide how much of it is rewritten."""

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
        return plan_recurrent(shape, self.units, 3, self.output)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return time_first(shape)

    def bind(self, site: Site) -> tuple[Step, Step]:
        kind = Kind((0.5, 0.5, 1.0), _cell, own_product=True, rest=True, apart=1)
        return bind_recurrent(site, kind, self.units, self.output, self.recurrent_dropout)


def _cell(tape: Tape) -> Cell:
    """The first two gates arrive whole; n lacks h U + b_hh, which the reset gate is to weigh."""
    site, dtype, rest = tape.site, tape.h.dtype, tape.rest
    assert rest is not None
    bias, half, one = site.theta["bias_hh_l0"][2], np.array(0.5, dtype), np.array(1, dtype)
    weighed, gap = tape.scratch("q"), site.loose("gap", tape.h.shape[1:])
    q, h, gates, product = list(weighed), list(tape.h), by_time(tape.gates), tape.u[2]

    def step(t: int) -> None:
        a, q_t = gates[t], q[t]
        rz, (r, z, n) = a[:2], a
        np.tanh(rz, rz)
        np.multiply(rz, half, rz)
        np.add(rz, half, rz)
        np.add(product, bias, q_t)
        np.multiply(r, q_t, gap)
        np.add(n, gap, n)
        np.tanh(n, n)
        np.subtract(h[t], n, gap)
        np.multiply(z, gap, gap)
        np.add(n, gap, h[t + 1])

    if not site.backward:
        return Cell(step, lambda: None, lambda t: None)
    k, dh = site.loose("k", tape.gates.shape), list(tape.dh)
    factor, d, d_own = by_time(k), by_time(tape.d_gates), by_time(tape.d_product)

    def factors() -> None:
        """dh/dn = (1 - z)(1 - n^2), dh/dz = (h - n) z (1 - z), dn/dr = q r (1 - r), inside their gates."""
        (r, z, n), (k_r, k_z, k_n), then = tape.gates, k, tape.d_gates[0]
        np.subtract(one, r, k_r)
        np.multiply(k_r, r, k_r)
        np.multiply(k_r, weighed, k_r)
        np.multiply(n, n, k_n)
        np.subtract(one, k_n, k_n)
        np.subtract(one, z, k_z)
        np.multiply(k_n, k_z, k_n)
        np.multiply(k_z, z, k_z)
        np.subtract(tape.h[:-1], n, then)
        np.multiply(k_z, then, k_z)

    def back(t: int) -> None:
        d_t, own, k_t, dh_t, (r, z, _) = d[t], d_own[t], factor[t], dh[t + 1], gates[t]
        np.multiply(dh_t, k_t[1:], d_t[1:])
        np.multiply(d_t[2], k_t[0], d_t[0])
        np.copyto(own[:2], d_t[:2])
        np.multiply(d_t[2], r, own[2])
        np.multiply(dh_t, z, rest)

    return Cell(step, factors, back)
