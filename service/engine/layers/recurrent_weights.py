"""The weights of a recurrent layer as its products want them, and the order of its gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from service.engine.contract import Array, Site, Step

LIGHT = 131_072  # numbers of weights that may be walked through at every step
AtTime: TypeAlias = Callable[[int], object]


def nothing() -> None:
    """What is done where nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Work along the steps of time: what is done before them, at step t, and behind them."""

    at: AtTime
    begin: Step = nothing
    end: Step = nothing


class Gates:
    """The arrays of all gates. With `apart` the last of PyTorch's gates has two: what x and what h bring to it.

    The last of PyTorch's gates stands first, so that with `apart` both sides are neighbours: x brings to n, r, z, h to
    r, z, n. `u`: (G, B, H), what h brings to a step. `wide`: G H.
    """

    def __init__(self, site: Site, scale: Sequence[float], units: int, apart: bool) -> None:
        self.units, self.rows, self.time, self.apart = units, site.rows, site.shape.dims[0], apart
        self.count, self.wide = len(scale), len(scale) * units
        self._scale = [np.array(each, site.dtype) for each in scale]
        self.u = site.loose("u", (self.count, site.rows, units))

    def order(self, state: bool = False) -> list[slice]:
        """Where PyTorch has each of ours, on the input's side or the state's."""
        places = [slice(k * self.units, (k + 1) * self.units) for k in range(self.count)]
        first = 0 if state and self.apart else self.count - 1
        return places[first:] + places[:first]

    def scale(self, theirs: slice) -> Array:
        """Of the gate that PyTorch has there."""
        scale: Array = self._scale[theirs.start // self.units]
        return scale


class Source:
    """The input time first: (T B, n) numbers, or (T B,) ids."""

    def __init__(self, site: Site) -> None:
        self.ids = site.shape.vocabulary is not None
        x = site.x.swapaxes(0, 1)
        straight = x.flags.c_contiguous
        self._x = x
        self._copy = None if straight else site.loose("x", x.shape, x.dtype)
        flat = x if self._copy is None else self._copy
        self.flat = flat.reshape(-1) if self.ids else flat.reshape(-1, flat.shape[-1])

    def load(self) -> None:
        if self._copy is not None:
            np.copyto(self._copy, self._x)


def scaled(site: Site, gates: Gates, name: str, width: int) -> tuple[Array, Step]:
    """(scale times a weight (k, G H) as (G, H / width, k, width), what makes it so): a gate through tanh then needs no
    product of its own."""
    weight, state = site.theta[name], name == "weight_hh_l0"
    pieces = site.loose(f"{name}_pieces", (gates.count, gates.units // width, len(weight), width))
    moves = [
        (weight[:, theirs].reshape(len(weight), -1, width).swapaxes(0, 1), gates.scale(theirs), piece)
        for theirs, piece in zip(gates.order(state), pieces, strict=True)
    ]

    def prepare() -> None:
        for each in moves:
            np.multiply(*each)

    return pieces, prepare


def scaled_bias(site: Site, gates: Gates) -> tuple[Array, Step]:
    """(scale times what is added to the gates beside products, (G, 1, H), what makes it so)."""
    both, out = site.loose("b_both", (gates.wide,)), site.loose("b", (gates.count, 1, gates.units))
    b_in, b_state = site.theta["bias_ih_l0"], site.theta["bias_hh_l0"]
    joined = gates.wide - gates.units if gates.apart else gates.wide  # the others are added before a product
    moves = [(both[theirs], gates.scale(theirs), to) for theirs, to in zip(gates.order(), out, strict=True)]

    def prepare() -> None:
        np.copyto(both, b_in)
        np.add(both[:joined], b_state[:joined], both[:joined])
        for each in moves:
            np.multiply(*each)

    return out, prepare
