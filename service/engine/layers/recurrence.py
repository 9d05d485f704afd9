"""What every recurrent layer shares: the walk through time, forward and back, over arrays laid time first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, Layout, Parameter, Shape, Site, Step, Unfit
from service.engine.layers.embedding import scatter_rows

Output = Literal["sequence", "last"]
Rate = Annotated[float, Field(ge=0, lt=1)]
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
        Parameter("weight_ih_l0", (n, wide), (n, units), axes=(1, 0)),
        Parameter("weight_hh_l0", (units, wide), (units, units), "orthogonal", axes=(1, 0)),
        Parameter("bias_ih_l0", (wide,)),
        Parameter("bias_hh_l0", (wide,)),
    )
    out = Shape((time, units), timed=shape.timed) if output == "sequence" else Shape((units,))
    own = time * (3 * wide + 6 * units + (0 if shape.vocabulary else n))
    return LayerPlan(out, parameters, flops=2 * time * wide * (n + units), workspace=own)


def time_first(shape: Shape) -> Layout:
    """The layout in which a step of time is one block of memory."""
    return "rows" if shape.vocabulary else (1, 0, 2)


@dataclass(frozen=True, slots=True)
class Tape:
    """One layer's arrays through time; T steps, B rows, H units, G gates.

    `gates`: (T, B, G H), given to the cell as scale (x W + b_ih + h U + b_hh); gates that are `apart` lack the last two,
    `u` has the product. `h`: (T + 1, B, H), h[0] the
    state before. `U`: (H, G H), times `scale`; `u`: (B, G H) working memory. `dh`: (T + 1, B, H), the gradient in h.
    `d_gates`: (T, B, G H) the gradient in x W + b, to be written by the cell; `d_product`: that in h U + b_hh,
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
        return range(len(self.gates))

    def scratch(self, name: str) -> Array:
        """(T, B, H)"""
        return self.site.loose(name, (len(self.gates), *self.h.shape[1:]))

    def split(self, array: Array, count: int) -> list[list[Array]]:
        """By time, the gates of (T, B, G H) one by one."""
        units = self.h.shape[2]
        return [[at[:, k * units : (k + 1) * units] for k in range(count)] for at in array]


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
    h, U, u, step = list(tape.h), tape.U, tape.u, cell.step
    together = u.shape[1] - kind.apart * units
    joined, product = [gate[:, :together] for gate in tape.gates], u[:, :together]
    before = h if keep is None else list(keep.h)

    def forward() -> None:
        projected()
        begin()
        if stop is not None:
            stop.look()
        for t in tape.times:
            if keep is not None:
                keep.drop(t)
            np.matmul(before[t], U, u)
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
    U_t = site.loose("U_t", tape.U.shape[::-1])
    dh, d_product, rest = list(tape.dh), list(tape.d_product), tape.rest
    dy = site.dy if output == "last" else site.dy.swapaxes(0, 1)
    ends = _weights(site, tape, source, tape.h if keep is None else keep.h)
    weight, back = site.theta["weight_hh_l0"], cell.back

    def backward() -> None:
        np.copyto(U_t, weight.T)
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
            np.matmul(d_product[t], U_t, dh[t])
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
    rows, wide = site.rows, len(kind.scale) * units
    d_gates = site.loose("d_gates", (time, rows, wide)) if site.backward else site.loose("none", (0, rows, wide))
    return Tape(
        site=site,
        gates=site.loose("gates", (time, rows, wide)),
        h=site.loose("h", (time + 1, rows, units)),
        U=site.loose("U", (units, wide)),
        u=site.loose("u", (rows, wide)),
        dh=site.loose("dh", (time + 1 if site.backward else 0, rows, units)),
        d_gates=d_gates,
        d_product=site.loose("d_product", d_gates.shape) if kind.own_product else d_gates,
        rest=site.loose("rest", (rows, units)) if kind.rest else None,
    )


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
    theta, units = site.theta, tape.h.shape[2]
    scale = np.repeat(np.array(kind.scale, site.dtype), units)
    W, b = site.loose("W", theta["weight_ih_l0"].shape), site.loose("b", scale.shape)
    gates = tape.gates.reshape(-1, len(scale))
    together = len(scale) - kind.apart * units

    def project() -> None:
        source.load()
        np.multiply(theta["weight_ih_l0"], scale, W)
        np.multiply(theta["weight_hh_l0"], scale, tape.U)
        np.copyto(b, theta["bias_ih_l0"])
        np.add(b[:together], theta["bias_hh_l0"][:together], b[:together])
        np.multiply(b, scale, b)
        if source.ids:
            W.take(source.flat, 0, gates, "clip")
        else:
            np.matmul(source.flat, W, gates)
        np.add(gates, b, gates)

    return project


def _weights(site: Site, tape: Tape, source: _Source, before: Array) -> Step:
    """The gradients in the weights and the input, each one product over all times and rows."""
    wide, gradient = tape.gates.shape[2], site.gradient
    da, dp = tape.d_gates.reshape(-1, wide), tape.d_product.reshape(-1, wide)
    h = before[:-1].reshape(-1, before.shape[2]) if len(before) > len(tape.gates) else before.reshape(len(dp), -1)
    ones = np.ones(len(da), site.dtype)
    dx = None if site.dx is None else site.dx.swapaxes(0, 1)
    straight = dx is not None and dx.flags.c_contiguous
    flat = None if dx is None else (dx if straight else site.loose("dx", dx.shape)).reshape(len(da), -1)
    W_t = site.theta["weight_ih_l0"].T

    def step() -> None:
        if source.ids:
            scatter_rows(site, source.flat, da, gradient["weight_ih_l0"])
        else:
            np.matmul(source.flat.T, da, gradient["weight_ih_l0"])
        np.matmul(h.T, dp, gradient["weight_hh_l0"])
        ones.dot(da, gradient["bias_ih_l0"])
        ones.dot(dp, gradient["bias_hh_l0"])
        if dx is not None and flat is not None:
            np.matmul(da, W_t, flat)
            if not straight:
                np.copyto(dx, flat.reshape(dx.shape))

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
        site, (time, rows, units) = tape.site, (len(tape.gates), *tape.h.shape[1:])
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
        self._lengths, self._over = site.lengths, site.loose("over", (len(tape.gates), site.rows, 1), np.bool_)
        self._clock = np.arange(len(tape.gates))[:, None, None]
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
        self._d_gates[t][self._over[t][:, 0]] = 0
        self._d_product[t][self._over[t][:, 0]] = 0

    def restore(self, t: int) -> None:
        np.copyto(self._dh[t], self._dh[t + 1], where=self._over[t])
        for saved, each in zip(self._saved, self._d_memory, strict=True):
            np.copyto(each, saved, where=self._over[t])
