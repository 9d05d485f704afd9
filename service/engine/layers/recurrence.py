"""What every recurrent layer shares: the walk through time, forward and back.

Arrays lie gate by gate, then time by time: the numbers of one gate at one time are one block of memory. Gates side by
side in a row are up to 14 times slower to write (their rows fall on the same lines of the first cache).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Initial, LayerPlan, Layout, Parameter, Shape, Site, Step, Unfit
from service.engine.fast import total
from service.engine.layers.embedding import scatter_rows

Output = Literal["sequence", "last"]
Rate = Annotated[float, Field(ge=0, lt=1)]
COLUMNS = 64
AtTime: TypeAlias = Callable[[int], object]


def plan_recurrent(shape: Shape, units: int, gates: int, output: Output) -> LayerPlan:
    """Two matrices and two biases under PyTorch's names; gates side by side. Raises Unfit."""
    if len(shape.dims) != (1 if shape.vocabulary else 2):
        raise Unfit(
            f"reads sequences, (time, numbers) a row, not {list(shape.dims)}",
            hint="put a reshape or an embedding before it",
            assume=Shape((1, units) if output == "sequence" else (units,)),
        )
    time, n = shape.dims[0], shape.vocabulary or shape.dims[1]
    wide = gates * units
    parameters = (
        _gate_by_gate("weight_ih_l0", gates, n, units),
        _gate_by_gate("weight_hh_l0", gates, units, units, "orthogonal"),
        Parameter("bias_ih_l0", (gates, units), exported=(wide,)),
        Parameter("bias_hh_l0", (gates, units), exported=(wide,)),
    )
    out = Shape((time, units), timed=shape.timed) if output == "sequence" else Shape((units,))
    own = time * (3 * wide + 6 * units + (0 if shape.vocabulary else n))
    return LayerPlan(out, parameters, flops=2 * time * wide * (n + units), workspace=own)


def _gate_by_gate(name: str, gates: int, n: int, units: int, initial: Initial | None = None) -> Parameter:
    """(gates, n, units), which PyTorch keeps as (gates units, n)."""
    shape, exported = (gates, n, units), (gates * units, n)
    return Parameter(name, shape, (n, units), initial, axes=(0, 2, 1), exported=exported)


def time_first(shape: Shape) -> Layout:
    """The layout in which a step of time is one block of memory."""
    return "rows" if shape.vocabulary else (1, 0, 2)


@dataclass(frozen=True, slots=True)
class Tape:
    """One layer's arrays through time; T steps, B rows, H units, G gates.

    `gates`: (G, T, B, H), given to the cell as scale (x W + b_ih + h U + b_hh); gates that are `apart` lack the last
    two. `u`: (G, B, H), the product h U of this step; `U`: (G, H, H), times `scale`.
    `h`: (T + 1, B, H), h[0] the state before. `dh`: (T + 1, B, H), the gradient in h.
    `d_gates`: (G, T, B, H) the gradient in x W + b, to be written by the cell; `d_product`: that in h U + b_hh,
    the same memory unless the cell tells them apart. `rest`: (B, H), what reaches h[t - 1] beside h U, or None.
    """

    site: Site
    gates: Array
    h: Array
    U: Array
    u: Array
    dh: Array
    d_gates: Array
    d_product: Array
    rest: Array | None

    @property
    def times(self) -> range:
        return range(self.gates.shape[1])

    def scratch(self, name: str) -> Array:
        """(T, B, H)"""
        return self.site.loose(name, self.gates.shape[1:])


def by_time(gates: Array) -> list[Array]:
    """(G, T, B, H) as T arrays (G, B, H)."""
    return list(gates.swapaxes(0, 1))


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell bound to its tape. `step(t)`: gates[t], h[t] -> h[t + 1]. `factors()`: once, before going back.

    `back(t)`: dh[t + 1] -> d_gates[t] (and d_product, rest). `memory`: (T + 1, B, H) states beside h; `d_memory`: the
    gradient that `back` keeps for each.
    """

    step: AtTime
    factors: Step
    back: AtTime
    memory: tuple[Array, ...] = ()
    d_memory: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells the kinds apart: `scale`: one number per gate put on its weights; how the cell is bound.

    `apart`: how many of the last gates get h U + b_hh from the cell instead of before it.
    """

    scale: tuple[float, ...]
    cell: Callable[[Tape], Cell]
    own_product: bool = False
    rest: bool = False
    apart: int = 0


def bind_recurrent(site: Site, kind: Kind, units: int, output: Output, dropped: float) -> tuple[Step, Step]:
    """(forward, backward) of a layer of this kind."""
    source = _Source(site)
    tape = _tape(site, kind, units, source.time)
    cell = kind.cell(tape)
    projected = _projection(site, kind, tape, source)
    begin, end = _ends(site, tape, cell)
    keep = _Dropped(tape, dropped) if site.training and dropped else None
    stop = _Stopped(tape, cell) if site.lengths is not None else None
    U, u, step = tape.U, tape.u, cell.step
    together = len(u) - kind.apart
    joined, product, forth = by_time(tape.gates[:together]), u[:together], _product(U, u)
    before = list(tape.h if keep is None else keep.h)

    def forward() -> None:
        projected()
        begin()
        if stop is not None:
            stop.look()
        for t in tape.times:
            if keep is not None:
                keep.drop(t)
            forth(before[t])
            np.add(joined[t], product, joined[t])
            step(t)
            if stop is not None:
                stop.hold(t)
        end()
        np.copyto(site.y, tape.h[-1] if output == "last" else tape.h[1:].swapaxes(0, 1))

    if not site.backward:
        return forward, forward
    return forward, _backward(site, tape, cell, source, output, keep, stop)


def _backward(
    site: Site, tape: Tape, cell: Cell, source: _Source, output: Output, keep: _Dropped | None, stop: _Stopped | None
) -> Step:
    U_t, each_gate = site.loose("U_t", tape.U.shape), tape.u
    dh, d_product, rest = list(tape.dh), by_time(tape.d_product), tape.rest
    downward = _product(U_t, each_gate)
    dy = site.dy if output == "last" else site.dy.swapaxes(0, 1)
    ends = _weights(site, tape, source, tape.h if keep is None else keep.h)
    weight, back = site.theta["weight_hh_l0"], cell.back

    def backward() -> None:
        np.copyto(U_t, weight.swapaxes(1, 2))
        cell.factors()
        np.copyto(dh[-1], dy if output == "last" else dy[-1])
        for each in cell.d_memory:
            each.fill(0)
        for t in reversed(tape.times):
            if stop is not None:
                stop.save(t)
            back(t)
            if stop is not None:
                stop.silence(t)
            downward(d_product[t])
            total(each_gate, 0, None, dh[t], False)
            if keep is not None:
                np.multiply(dh[t], keep.mask, dh[t])
            if rest is not None:
                np.add(dh[t], rest, dh[t])
            if stop is not None:
                stop.restore(t)
            if output == "sequence" and t:
                np.add(dh[t], dy[t - 1], dh[t])
        ends()

    return backward


def _tape(site: Site, kind: Kind, units: int, time: int) -> Tape:
    rows, gates = site.rows, len(kind.scale)
    d_gates = site.loose("d_gates", (gates, time if site.backward else 0, rows, units))
    return Tape(
        site=site,
        gates=site.loose("gates", (gates, time, rows, units)),
        h=site.loose("h", (time + 1, rows, units)),
        U=site.loose("U", (gates, units, units)),
        u=site.loose("u", (gates, rows, units)),
        dh=site.loose("dh", (time + 1 if site.backward else 0, rows, units)),
        d_gates=d_gates,
        d_product=site.loose("d_product", d_gates.shape) if kind.own_product else d_gates,
        rest=site.loose("rest", (rows, units)) if kind.rest else None,
    )


def _product(U: Array, u: Array) -> Callable[[Array], object]:
    """h -> u = h U for each gate, in columns of 64 where they fit: OpenBLAS's kernel without packing is faster on them.

    h: (B, H), or (G, B, H) with one for each gate.
    """
    gates, n, units = U.shape
    if units % COLUMNS or units == COLUMNS:
        return lambda h: np.matmul(h, U, u)
    pieces = U.reshape(gates, n, -1, COLUMNS).transpose(0, 2, 1, 3)
    out = u.reshape(gates, len(u[0]), -1, COLUMNS).transpose(0, 2, 1, 3)
    return lambda h: np.matmul(h[..., None, :, :], pieces, out)


class _Source:
    """The input time first: (T B, n) numbers, or (T B,) ids."""

    def __init__(self, site: Site) -> None:
        self.ids = site.shape.vocabulary is not None
        self.time = site.shape.dims[0]
        x = site.x.swapaxes(0, 1)
        straight = x.flags.c_contiguous
        self._x = x
        self._copy = None if straight else site.loose("x", x.shape, x.dtype)
        flat = x if self._copy is None else self._copy
        self.flat = flat.reshape(-1) if self.ids else flat.reshape(-1, flat.shape[-1])

    def load(self) -> None:
        if self._copy is not None:
            np.copyto(self._copy, self._x)


def _projection(site: Site, kind: Kind, tape: Tape, source: _Source) -> Step:
    """gates = (x W + b) * scale, and U = scale * its weights: a gate through tanh then needs no product of its own."""
    theta, gates = site.theta, len(kind.scale)
    scale = np.array(kind.scale, site.dtype)[:, None, None]
    W, b = site.loose("W", theta["weight_ih_l0"].shape), site.loose("b", (gates, 1, tape.h.shape[2]))
    flat, together = tape.gates.reshape(gates, -1, tape.h.shape[2]), gates - kind.apart

    def project() -> None:
        source.load()
        np.multiply(theta["weight_ih_l0"], scale, W)
        np.multiply(theta["weight_hh_l0"], scale, tape.U)
        np.copyto(b[:, 0], theta["bias_ih_l0"])
        np.add(b[:together, 0], theta["bias_hh_l0"][:together], b[:together, 0])
        np.multiply(b, scale, b)
        if source.ids:
            for table, gate in zip(W, flat, strict=True):
                table.take(source.flat, 0, gate, "clip")
        else:
            np.matmul(source.flat, W, flat)
        np.add(flat, b, flat)

    return project


def _weights(site: Site, tape: Tape, source: _Source, before: Array) -> Step:
    """The gradients in the weights and the input, each one product over all times and rows."""
    gradient, (gates, time, rows, units) = site.gradient, tape.gates.shape
    da, dp = tape.d_gates.reshape(gates, -1, units), tape.d_product.reshape(gates, -1, units)
    h_t = before[:time].reshape(-1, units).T
    ones = np.ones(time * rows, site.dtype)
    back = _to_input(site, da) if site.dx is not None else None

    def step() -> None:
        if source.ids:
            scatter_rows(site, source.flat, da, gradient["weight_ih_l0"])
        else:
            np.matmul(source.flat.T, da, gradient["weight_ih_l0"])
        np.matmul(h_t, dp, gradient["weight_hh_l0"])
        np.matmul(ones, da, gradient["bias_ih_l0"])
        np.matmul(ones, dp, gradient["bias_hh_l0"])
        if back is not None:
            back()

    return step


def _to_input(site: Site, da: Array) -> Step:
    """dx = the sum over the gates of da W'."""
    assert site.dx is not None
    dx = site.dx.swapaxes(0, 1)
    straight = dx.flags.c_contiguous
    whole = dx if straight else site.loose("dx", dx.shape)
    flat = whole.reshape(da.shape[1], -1)
    part = site.loose("dx_part", flat.shape)
    W_t = site.theta["weight_ih_l0"].swapaxes(1, 2)

    def step() -> None:
        np.matmul(da[0], W_t[0], flat)
        for gate, weight in zip(da[1:], W_t[1:], strict=True):
            np.matmul(gate, weight, part)
            np.add(flat, part, flat)
        if not straight:
            np.copyto(dx, whole)

    return step


def _ends(site: Site, tape: Tape, cell: Cell) -> tuple[Step, Step]:
    """Where the states begin, and where they are left for the next step of a stream."""
    states = (tape.h, *cell.memory)
    if not site.stateful:

        def zero() -> None:
            for each in states:
                each[0].fill(0)

        return zero, lambda: None
    carries = [site.carry(f"state{k}", each.shape[2:]) for k, each in enumerate(states)]

    def begin() -> None:
        for each, carry in zip(states, carries, strict=True):
            np.copyto(each[0], carry)

    def end() -> None:
        for each, carry in zip(states, carries, strict=True):
            np.copyto(carry, each[-1])

    return begin, end


class _Dropped:
    """One mask a row for the whole sequence on the state that is read. Gal and Ghahramani 2016."""

    def __init__(self, tape: Tape, rate: float) -> None:
        site, (time, rows, units) = tape.site, tape.gates.shape[1:]
        self.h = site.loose("h_dropped", (time, rows, units))
        self.mask = site.loose("mask", (rows, units))
        self._bits = site.random("recurrent", np.uint16, (units,))
        drop = min(round(rate * 65_536), 65_535)
        self._threshold, self._scale = np.array(drop, np.uint16), np.array(65_536 / (65_536 - drop), site.dtype)
        self._state = tape.h

    def drop(self, t: int) -> None:
        if t == 0:
            np.multiply(np.greater_equal(self._bits, self._threshold), self._scale, self.mask)
        np.multiply(self._state[t], self.mask, self.h[t])


class _Stopped:
    """Rows whose sequence has ended keep their state, and send back nothing but what comes to it."""

    def __init__(self, tape: Tape, cell: Cell) -> None:
        site = tape.site
        assert site.lengths is not None
        self._lengths, self._over = site.lengths, site.loose("over", (len(tape.times), site.rows, 1), np.bool_)
        self._clock = np.arange(len(tape.times))[:, None, None]
        self._states = (tape.h, *cell.memory)
        self._d_gates, self._d_product, self._dh, self._d_memory = tape.d_gates, tape.d_product, tape.dh, cell.d_memory
        self._saved = [site.loose(f"saved{k}", each.shape) for k, each in enumerate(cell.d_memory)]

    def look(self) -> None:
        np.greater_equal(self._clock, self._lengths[:, None], self._over)

    def hold(self, t: int) -> None:
        for each in self._states:
            np.copyto(each[t + 1], each[t], where=self._over[t])

    def save(self, t: int) -> None:
        for saved, each in zip(self._saved, self._d_memory, strict=True):
            np.copyto(saved, each)

    def silence(self, t: int) -> None:
        for each in (self._d_gates, self._d_product):
            np.copyto(each[:, t], 0, where=self._over[t])

    def restore(self, t: int) -> None:
        np.copyto(self._dh[t], self._dh[t + 1], where=self._over[t])
        for saved, each in zip(self._saved, self._d_memory, strict=True):
            np.copyto(each, saved, where=self._over[t])
