"""What every recurrent layer shares: the walk through time, forward and back.

What belongs to a step lies gate by gate, each one block of memory: NumPy walks through it twice as fast as along rows.
Products are cut so small that their weights, and the steps they gather, stay in the caches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, Layout, Parameter, Shape, Site, Step, Unfit
from service.engine.layers.recurrent_gradients import Slopes, bind_gradients, steps_gathered
from service.engine.layers.recurrent_products import (
    bind_back_product,
    bind_projection,
    bind_state_product,
    bind_to_input,
    steps_at_once,
)
from service.engine.layers.recurrent_rows import Dropped, Stopped
from service.engine.layers.recurrent_weights import AtTime, Gates, Source, Walk

Output = Literal["sequence", "last"]
Rate = Annotated[float, Field(ge=0, lt=1)]


def plan_recurrent(shape: Shape, units: int, gates: int, kept: int, output: Output) -> LayerPlan:
    """Two matrices and two biases under PyTorch's names; gates side by side. `kept`: blocks of units kept at every
    step for the way back, beside the state and its gradient. Raises Unfit."""
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
    ids = 2 * time if shape.vocabulary else 0  # each as long as two numbers
    own = time * (kept + 2) * units + ids + 20 * units
    return LayerPlan(out, parameters, flops=2 * time * wide * (n + units), workspace=own)


def recurrent_memory(shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
    """Numbers of working memory; without a way back only the states and what x brings to a few steps."""
    (n, wide), (units, _) = (each.shape for each in plan.parameters[:2])
    time, letters = shape.dims[0], shape.vocabulary is not None
    weights = wide * (n + units)
    entering = rows * wide * (1 if letters else steps_at_once(rows, time, n, units, wide))
    if not backward:
        return rows * (time + 20) * units + entering + weights
    waiting = time if letters else steps_gathered(rows, time, n, units, wide)
    return rows * plan.workspace + entering + rows * waiting * (wide + units) + 4 * weights


def time_first(shape: Shape) -> Layout:
    """The layout in which a step of time is one block of memory."""
    return "rows" if shape.vocabulary else (1, 0, 2)


@dataclass(frozen=True, slots=True)
class Tape:
    """One layer's arrays through time; T steps, B rows, H units, G gates side by side.

    `p[t]`: (G, B, H), scale (x W + b), the last of PyTorch's gates first. `u`: (G, B, H), scale h U of a step, in the
    same order unless the last gate's product is apart. `h[t]`: (B, H), the state before step t. `factors[t]`:
    (kept, B, H). `dh[t]`: (B, H), the gradient in h[t]. `d[t]`: (G, B, H), the gradient in p[t], to be
    written by the cell; with a product apart (G + 1, B, H), the last its gradient. `rest`: (B, H), what reaches
    h[t - 1] beside h U, or None.
    """

    site: Site
    p: list[Array]
    u: Array
    h: list[Array]
    factors: list[Array]
    dh: list[Array]
    d: list[Array]
    rest: Array | None

    @property
    def units(self) -> int:
        return int(self.h[0].shape[1])

    def scratch(self, name: str, blocks: int) -> Array:
        """(blocks, B, H)"""
        return self.site.loose(name, (blocks, self.site.rows, self.units))


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell bound to its tape. `step(t)`: p[t], u, h[t] -> h[t + 1], and factors[t] when there is a way back.

    `back(t)`: dh[t + 1], factors[t] -> d[t] (and rest). `memory`: (B, H) states beside h; `d_memory`: the gradients in
    them. Both change in place.
    """

    step: AtTime
    back: AtTime
    memory: tuple[Array, ...] = ()
    d_memory: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells the kinds apart. `scale`: one number per gate in PyTorch's order, put on its weights.

    `kept`: blocks of factors a step. `apart`: the cell gets the last gate's h U + b by itself. `rest`: see Tape.
    """

    scale: tuple[float, ...]
    cell: Callable[[Tape], Cell]
    kept: int
    apart: bool = False
    rest: bool = False


def bind_recurrent(site: Site, kind: Kind, units: int, output: Output, dropped: float) -> tuple[Step, Step]:
    """(forward, backward) of a layer of this kind."""
    source, gates = Source(site), Gates(site, kind.scale, units, kind.apart)
    h = site.loose("h", (gates.time + 1, site.rows, units))
    keep = Dropped(site, h, dropped) if site.training and dropped else None
    read = h if keep is None else keep.h
    cut, product = bind_state_product(site, gates, list(read))
    project, enter, p = bind_projection(site, gates, source, cut)
    slopes = Slopes(site, gates) if site.backward else None
    dh = site.loose("dh", (len(h) if site.backward else 0, *h.shape[1:]))
    tape = _tape(site, kind, gates, p, h, dh, slopes)
    cell = kind.cell(tape)
    stop = Stopped(site, tape, cell) if site.lengths is not None else None
    last = output == "last"
    y, told = (site.y, h[-1]) if last else (site.y.swapaxes(0, 1), h[1:])
    before = [enter, product] if keep is None else [enter, keep.drop, product]
    forward = _forward(site, tape, cell, stop, (project, before, partial(np.copyto, y, told)))
    if slopes is None:
        return forward, forward
    walks = [bind_back_product(site, gates, "weight_hh_l0", slopes, slopes.of_state, dh)]
    walks += [bind_to_input(site, gates, slopes)] if site.dx is not None else []
    walks.append(bind_gradients(site, gates, source, slopes, read))
    return forward, _backward(site, tape, cell, keep, stop, walks, last)


def _forward(site: Site, tape: Tape, cell: Cell, stop: Stopped | None, work: tuple[Step, list[AtTime], Step]) -> Step:
    (projected, before, told), times = work, range(len(tape.p))
    begin, end = _ends(site, tape, cell)
    calls = before + ([cell.step] if stop is None else [stop.remember, cell.step, stop.hold])

    def forward() -> None:
        projected()
        begin()
        for t in times:
            for call in calls:
                call(t)
        end()
        told()

    return forward


def _backward(
    site: Site, tape: Tape, cell: Cell, keep: Dropped | None, stop: Stopped | None, walks: list[Walk], last: bool,
) -> Step:  # fmt: skip
    dh, rest, times = tape.dh, tape.rest, range(len(tape.p))
    dy = [site.dy] if last else list(site.dy.swapaxes(0, 1))

    def above(t: int) -> None:
        if t:
            np.add(dh[t], dy[t - 1], dh[t])

    calls: list[AtTime] = [cell.back] if stop is None else [stop.save, cell.back, stop.silence]
    calls += [walk.at for walk in walks]
    calls += [] if keep is None else [lambda t: np.multiply(dh[t], keep.mask, dh[t])]
    calls += [] if rest is None else [lambda t: np.add(dh[t], rest, dh[t])]
    calls += [] if stop is None else [stop.restore]
    calls += [] if last else [above]

    def backward() -> None:
        for walk in walks:
            walk.begin()
        np.copyto(dh[-1], dy[-1])
        for each in cell.d_memory:
            each.fill(0)
        for t in reversed(times):
            for call in calls:
                call(t)
        for walk in walks:
            walk.end()

    return backward


def _tape(
    site: Site, kind: Kind, gates: Gates, p: list[Array], h: Array, dh: Array, slopes: Slopes | None
) -> Tape:  # fmt: skip
    kept = (0 if slopes is None else gates.time, kind.kept, *h.shape[1:])
    return Tape(
        site=site,
        p=p,
        u=gates.u,
        h=list(h),
        factors=list(site.loose("factors", kept)),
        dh=list(dh),
        d=[] if slopes is None else [slopes.at(t, slopes.all) for t in range(gates.time)],
        rest=site.loose("rest", h.shape[1:]) if kind.rest else None,
    )


def _ends(site: Site, tape: Tape, cell: Cell) -> tuple[Step, Step]:
    """Where the states begin, and where they are left for the next step of a stream."""
    first, last = (tape.h[0], *cell.memory), (tape.h[-1], *cell.memory)
    if not site.stateful:

        def zero() -> None:
            for each in first:
                each.fill(0)

        return zero, lambda: None
    carries = [site.carry(f"state{k}", each.shape[1:]) for k, each in enumerate(first)]

    def begin() -> None:
        for each, carry in zip(first, carries, strict=True):
            np.copyto(each, carry)

    def end() -> None:
        for each, carry in zip(last, carries, strict=True):
            np.copyto(carry, each)

    return begin, end
