"""A network of dense layers cut by units: what each of two lanes has of every layer, and where they exchange sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import ConfigDict

from service.engine.arena import common
from service.engine.contract import Array, LayerPlan, LayerSpec, Parameter, Shape, Site, Step
from service.engine.layers.dense import Dense
from service.engine.layers.dropout import Dropout
from service.engine.layers.elementwise import Activation
from service.engine.parallel import LANES
from service.engine.row import Part, RowPlan

ALL = slice(None)
WIDTH = 16  # the first half of the units is a multiple of so many, where there are enough
Role: TypeAlias = Literal["out", "in", "whole"]
Index: TypeAlias = tuple[slice, ...]


def roles(row: RowPlan) -> list[Role] | None:
    """How each dense layer is cut, or None when this network cannot be.

    By its outputs first, which nobody else needs; then by its inputs, so that both lanes need the sum of what each
    found; and so on in turn (Shoeybi et al. 2019). What is left over at the end both lanes do as a whole.
    """
    dense = [part for part in row.parts if isinstance(part.layer, Dense)]
    pairs = len(dense) // 2
    found: list[Role] = [*(("out", "in") * pairs), *(["whole"] * (len(dense) % 2))]  # type: ignore[list-item]
    if not pairs or any(len(part.shape.dims) != 1 or part.shape.size < 2 for part in dense):
        return None
    inside, left = False, iter(found)
    for part in row.parts:
        if isinstance(part.layer, Dense):
            inside = next(left) == "out"
        elif part.plan.parameters or (inside and not isinstance(part.layer, Activation | Dropout)):
            return None
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """A lane's array and the part of the network's array that it is."""

    mine: str
    whole: str
    index: Index
    shared: bool  # the other lane has the same one


@dataclass(frozen=True, slots=True)
class Half:
    """What a lane does: a network of its own, and where its arrays are in the whole one's."""

    layers: tuple[LayerSpec, ...]
    shares: tuple[Share, ...]


class Exchange:
    """What the lanes found of the same sums, in memory that both processes see: by turns in two places, so that a lane
    may write those of the next step while the other still reads."""

    def __init__(self, rows: int, dtype: np.dtype[Any]) -> None:
        self.turn = 0
        self._rows, self._dtype = rows, dtype
        self._memory: list[list[list[Array]]] = []

    def reserve(self, number: int, units: int) -> int:
        """Has memory for the sums `number`, of so many units, for both lanes."""
        if number == len(self._memory):
            self._memory.append([[common(self._rows * units, self._dtype) for _ in LANES] for _ in range(2)])
        return number

    def places(self, number: int, turn: int, rows: int, units: int) -> list[Array]:
        """(rows, units) of each lane for the sums `number`, features first in memory."""
        return [each[: rows * units].reshape(units, rows).T for each in self._memory[number][turn]]


def halves(row: RowPlan, cut: Sequence[Role], rows: int, dtype: np.dtype[Any]) -> tuple[tuple[Half, Half], Exchange]:
    """Both lanes' networks, for batches of at most `rows`, and what they exchange."""
    exchange = Exchange(rows, dtype)
    return (_Builder(0, exchange).half(row, cut), _Builder(1, exchange).half(row, cut)), exchange


def part_of(units: int, lane: int) -> slice:
    """The units of a lane."""
    middle = units // 2 // WIDTH * WIDTH or units // 2
    return slice(0, middle) if lane == 0 else slice(middle, units)


class _Builder:
    """One lane's layers and shares, from the first to the last."""

    def __init__(self, lane: int, exchange: Exchange) -> None:
        self.layers: list[LayerSpec] = []
        self.shares: list[Share] = []
        self._lane, self._exchange, self._sums = lane, exchange, 0
        self._inside = ALL  # the lane's units of what the last layer gave

    def half(self, row: RowPlan, cut: Sequence[Role]) -> Half:
        left = iter(cut)
        for part in row.parts:
            if isinstance(part.layer, Dense):
                {"out": self._out, "in": self._in, "whole": self._whole}[next(left)](part, part.layer)
            elif isinstance(part.layer, Dropout) and self._inside != ALL:
                self.layers.append(Thinned(dropout=part.layer, whole=part.shape.size, start=self._inside.start))
            else:
                self.layers.append(part.layer)
        return Half(tuple(self.layers), tuple(self.shares))

    def _out(self, part: Part, layer: Dense) -> None:
        self._inside = part_of(part.plan.shape.size, self._lane)
        mine = Dense(units=self._inside.stop - self._inside.start, bias=layer.bias)
        if self.shares:  # somebody in front of it learns
            number = self._next(part.shape.size)
            self.layers.append(Gathered(number=number, exchange=self._exchange))
            self.layers.append(Apart(dense=mine, lane=self._lane, number=number, exchange=self._exchange))
        else:
            self.layers.append(mine)
        self._share(part, (ALL, self._inside), False)
        if layer.bias:
            self._share(part, (self._inside,), False, "bias")

    def _in(self, part: Part, layer: Dense) -> None:
        units = part.plan.shape.size
        number, mine = self._next(units), Dense(units=units, bias=False)
        self.layers.append(Partial(dense=mine, lane=self._lane, number=number, exchange=self._exchange))
        self._share(part, (self._inside,), False)
        self.layers.append(Join(number=number, bias=layer.bias, exchange=self._exchange))
        if layer.bias:
            self._share(part, (ALL,), True, "bias")
        self._inside = ALL

    def _whole(self, part: Part, layer: Dense) -> None:
        self.layers.append(Dense(units=part.plan.shape.size, bias=layer.bias))
        for name in ("weight", "bias")[: 1 + layer.bias]:
            self._share(part, (ALL,), True, name)

    def _next(self, units: int) -> int:
        self._sums += 1
        return self._exchange.reserve(self._sums - 1, units)

    def _share(self, part: Part, index: Index, shared: bool, name: str = "weight") -> None:
        self.shares.append(Share(f"{len(self.layers) - 1}.{name}", f"{part.index}.{name}", index, shared))


# --- the layers that only lanes have ----------------------------------------------------------------------------------


class Exchanging(LayerSpec):
    """A layer that writes or reads a sum that both lanes need."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    number: int
    exchange: Exchange

    def places(self, site: Site, units: int) -> list[list[Array]]:
        """(rows, units) for each lane, in even steps and in odd ones."""
        return [self.exchange.places(self.number, turn, site.rows, units) for turn in range(2)]

    def by_turns(self, even: Step, odd: Step) -> Step:
        """The one of this step."""
        exchange = self.exchange

        def step() -> None:
            (odd if exchange.turn else even)()

        return step


class HalfDense(Exchanging):
    """A lane's dense layer, one end of which is such a sum."""

    dense: Dense
    lane: int

    def plan(self, shape: Shape) -> LayerPlan:
        return self.dense.plan(shape)

    def ends(self, site: Site, end: str, units: int) -> list[tuple[Step, Step]]:
        """(forward, backward) in even steps and in odd ones, with this end where the other lane sees it."""
        places = (both[self.lane] for both in self.places(site, units))
        return [self.dense.bind(replace(site, **{end: place})) for place in places]  # type: ignore[arg-type]


class Partial(HalfDense):
    """x W of the lane's inputs alone."""

    def bind(self, site: Site) -> tuple[Step, Step]:
        (even, backward), (odd, _) = self.ends(site, "y", site.plan.shape.size)
        return self.by_turns(even, odd), backward


class Apart(HalfDense):
    """dy W' of the lane's outputs alone."""

    def bind(self, site: Site) -> tuple[Step, Step]:
        (forward, even), (_, odd) = self.ends(site, "dx", site.shape.size)
        return forward, self.by_turns(even, odd)


class Joining:
    """The step before which the lanes must have met: y = what lane 0 found + what lane 1 found (+ b)."""

    def __init__(self, exchange: Exchange, places: list[list[Array]], y: Array, b: Array | None) -> None:
        self._exchange, self._places, self._y, self._b = exchange, places, y, b

    def __call__(self) -> None:
        first, second = self._places[self._exchange.turn]
        np.add(first, second, self._y)
        if self._b is not None:
            np.add(self._y, self._b, self._y)


class Join(Exchanging):
    """The sum of both lanes' products, and the bias."""

    bias: bool
    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape, (Parameter("bias", shape.dims),) if self.bias else ())

    def bind(self, site: Site) -> tuple[Step, Step | None]:
        places = self.places(site, site.shape.size)
        joining = Joining(self.exchange, places, site.y, site.theta.get("bias"))
        dy, dx, db, ones = site.dy, site.dx, site.gradient.get("bias"), np.ones(site.rows, site.dtype)
        steps: list[Step] = [] if db is None else [partial(ones.dot, dy, db)]
        if dx is not None and not np.shares_memory(dx, dy):
            steps.append(partial(np.copyto, dx, dy))

        def backward() -> None:
            for step in steps:
                step()

        return joining, backward if steps else None


class Gathered(Exchanging):
    """Nothing on the way forward; on the way back the sum of what both lanes' outputs ask of their common input."""

    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return LayerPlan(shape)

    def bind(self, site: Site) -> tuple[Step | None, Step]:
        if site.dx is None:
            raise ValueError("nobody in front of this layer learns")
        same = np.shares_memory(site.x, site.y)
        forward = None if same else partial(np.copyto, site.y, site.x)
        return forward, Joining(self.exchange, self.places(site, site.shape.size), site.dx, None)


class Thinned(LayerSpec):
    """Dropout of a lane's units: its part of the random numbers that the whole layer would have."""

    dropout: Dropout
    whole: int
    start: int
    elementwise: ClassVar[bool] = True
    overwrites: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        return self.dropout.plan(shape)

    def bind(self, site: Site) -> tuple[Step | None, Step | None]:
        mine = slice(self.start, self.start + site.shape.size)
        return self.dropout.drop(site, lambda dtype: site.random("bits", dtype, (self.whole,))[:, mine])
