"""The products of a recurrent layer: those over all times at once, and that of every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.embedding import scatter_rows
from service.engine.layers.matmul import width_of

SAME_SET = 128  # rows a multiple of so many numbers apart fall on few lines of the cache
LINE = 16
AtTime: TypeAlias = Callable[[int], object]


def side_by_side(site: Site, name: str, rows: int, width: int) -> Array:
    """(rows, width) working memory with room between its rows where they would fall on the same lines."""
    return site.loose(name, (rows, width if width % SAME_SET else width + LINE))[:, :width]


def by_gate(gates: Array, units: int) -> Array:
    """(B, G H) seen as (G, B, H)."""
    return gates.reshape(len(gates), -1, units).swapaxes(0, 1)


class Gates:
    """The arrays of all gates. With `apart` the last of PyTorch's gates has two: what x and what h bring to it.

    `all`: (T B, G H), with `apart` (T B, (G + 1) H): scale (x W + b) going forward, the gradients going back. The last
    of PyTorch's gates stands first, so that with `apart` both sides are neighbours: x brings to n, r, z, h to r, z, n.
    `U`: (H, G H), scale times the weights; `u`: (G, B, H), what h brings to a step.
    """

    def __init__(self, site: Site, scale: Sequence[float], units: int, apart: bool) -> None:
        self.units, self.rows, self.time, self.apart = units, site.rows, site.shape.dims[0], apart
        self.wide = len(scale) * units
        tall = self.wide + (units if apart and site.backward else 0)
        self.all = side_by_side(site, "gates", self.time * site.rows, tall)
        self.of_input = self.all[:, : self.wide]
        self.scale = np.repeat(np.array(scale, site.dtype), units)
        self.U = site.loose("U", (units, self.wide))
        self.u = site.loose("u", (len(scale), site.rows, units))

    def times(self, gates: Array) -> list[Array]:
        """(B, G H) of every step."""
        return [gates[t * self.rows : (t + 1) * self.rows] for t in range(self.time)]

    def to_state(self, gates: Array) -> Array:
        """The gates that h brings something to."""
        return gates[:, self.units :] if self.apart else gates

    def turned(self, state: bool = False) -> list[tuple[slice, slice]]:
        """(ours, PyTorch's): which gates of the input's side (or the state's) are which."""
        if (state and self.apart) or self.wide == self.units:
            return [(slice(None), slice(None))]
        first, others = slice(self.wide - self.units, None), slice(0, self.wide - self.units)
        return [(slice(0, self.units), first), (slice(self.units, None), others)]


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


def bind_projection(site: Site, gates: Gates, source: Source, cut: Step) -> tuple[Step, AtTime | None, list[Array]]:
    """p = scale (x W + b) and U = scale times its weights: a gate through tanh then needs no product of its own.

    (what is done first, what is done before step t, p[t]: (B, G H)). Numbers are multiplied for all times at once;
    of ids the rows are taken step by step into one p, which stays in the cache. `cut`: what is done once U is there.
    """
    W, b = site.loose("W", site.theta["weight_ih_l0"].shape), site.loose("b", (gates.wide,))
    prepare = _scaled(site, gates, W, b)

    def weigh() -> None:
        prepare()
        if source.ids:
            np.add(W, b, W)
        cut()

    if site.frozen:
        weigh()

    def project() -> None:
        if not site.frozen:
            weigh()
        source.load()
        if not source.ids:
            np.matmul(source.flat, W, gates.of_input)
            np.add(gates.of_input, b, gates.of_input)

    if not source.ids:
        return project, None, gates.times(gates.of_input)
    p, ids = site.loose("p", (gates.rows, gates.wide)), source.flat.reshape(gates.time, gates.rows)
    return project, lambda t: W.take(ids[t], 0, p, "clip"), [p] * gates.time


def _scaled(site: Site, gates: Gates, W: Array, b: Array) -> Step:
    """W, b and U become the weights times their gate's scale, in our order of gates."""
    theta, scale = site.theta, gates.scale
    joined = gates.wide - gates.units if gates.apart else gates.wide  # biases of h that can be added before its product
    b_in, b_state, whole = theta["bias_ih_l0"], theta["bias_hh_l0"], site.loose("b_both", (gates.wide,))
    weigh = [(theta["weight_ih_l0"][:, theirs], scale[theirs], W[:, ours]) for ours, theirs in gates.turned()]
    weigh += [(whole[theirs], scale[theirs], b[ours]) for ours, theirs in gates.turned()]
    weigh += [
        (theta["weight_hh_l0"][:, theirs], scale[theirs], gates.U[:, ours]) for ours, theirs in gates.turned(state=True)
    ]

    def prepare() -> None:
        np.copyto(whole, b_in)
        np.add(whole[:joined], b_state[:joined], whole[:joined])
        for each in weigh:
            np.multiply(*each)

    return prepare


def bind_state_product(site: Site, gates: Gates, h: list[Array]) -> tuple[Step, AtTime]:
    """(what is done once U is there, t: u = h[t] U), gate by gate."""
    rows, units = site.rows, gates.units
    width = width_of(rows, units, units)
    pieces = site.loose("U_pieces", (len(gates.u), units // width, units, width))
    source = gates.U.reshape(units, *pieces.shape[:2], width).transpose(1, 2, 0, 3)
    u = gates.u.reshape(len(gates.u), rows, -1, width).swapaxes(1, 2)
    return lambda: np.copyto(pieces, source), lambda t: np.matmul(h[t], pieces, u)


def bind_back_product(site: Site, gates: Gates, d: list[Array], dh: list[Array]) -> tuple[Step, AtTime]:
    """(what is done once a step, t: dh[t] = d[t] U' without the scale)."""
    weight, width = site.theta["weight_hh_l0"], width_of(site.rows, gates.wide, gates.units)
    pieces = site.loose("U_back", (gates.units // width, gates.wide, width))
    pairs = [
        (pieces[:, ours], weight[:, theirs].reshape(len(pieces), width, -1).swapaxes(1, 2))
        for ours, theirs in gates.turned(state=True)
    ]
    da = [gates.to_state(each) for each in d]
    outs = [each.reshape(site.rows, -1, width).swapaxes(0, 1) for each in dh]

    def fetch() -> None:
        for ours, theirs in pairs:
            np.copyto(ours, theirs)

    return fetch, lambda t: np.matmul(da[t], pieces, outs[t])


def bind_gradients(site: Site, gates: Gates, source: Source, before: Array) -> Step:
    """The gradients in the weights and the input. before: (T or more, B, H), the state that each step read."""
    gradient, ones = site.gradient, np.ones(len(gates.all), site.dtype)
    d_in, d_state = gates.of_input, gates.to_state(gates.all)
    h = before[: gates.time].reshape(-1, gates.units).T
    found = {name: site.loose(f"d_{name}", each.shape) for name, each in gradient.items()}
    back = _to_input(site, gates) if site.dx is not None else None
    moves = [
        (gradient[name][..., theirs], found[name][..., ours])
        for name in gradient
        for ours, theirs in gates.turned(state="hh" in name)
    ]

    def step() -> None:
        if source.ids:
            scatter_rows(site, source.flat, d_in, found["weight_ih_l0"])
        else:
            np.matmul(source.flat.T, d_in, found["weight_ih_l0"])
        np.matmul(h, d_state, found["weight_hh_l0"])
        np.matmul(ones, d_in, found["bias_ih_l0"])
        if gates.apart:
            np.matmul(ones, d_state, found["bias_hh_l0"])
        else:  # the same sum
            np.copyto(found["bias_hh_l0"], found["bias_ih_l0"])
        for theirs, ours in moves:
            np.copyto(theirs, ours)
        if back is not None:
            back()

    return step


def _to_input(site: Site, gates: Gates) -> Step:
    """dx = da W', time first."""
    assert site.dx is not None
    dx, weight = site.dx.swapaxes(0, 1), site.theta["weight_ih_l0"]
    straight = dx.flags.c_contiguous
    whole = dx if straight else site.loose("dx", dx.shape)
    flat, W = whole.reshape(-1, whole.shape[-1]), site.loose("W_back", weight.shape)

    def step() -> None:
        for ours, theirs in gates.turned():
            np.copyto(W[:, ours], weight[:, theirs])
        np.matmul(gates.of_input, W.T, flat)
        if not straight:
            np.copyto(dx, whole)

    return step
