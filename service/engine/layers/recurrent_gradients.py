"""The gradients of a recurrent layer's weights, gathered a few steps at a time while those steps are in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.fast import total
from service.engine.layers.embedding import scatter_rows
from service.engine.layers.matmul import COLUMNS, UNPACKED
from service.engine.layers.recurrent_weights import LIGHT, AtTime, Gates, Source, Walk

Term: TypeAlias = tuple[Array, Array, Array]


def steps_gathered(rows: int, time: int, inputs: int, units: int, wide: int) -> int:
    """How many steps go into one product: as many as the kernel without packing takes; all, where sums would cost."""
    work = rows * max(_side(inputs), _side(units)) * _side(units)
    heavy = max(inputs, units) * wide > LIGHT
    return time if heavy or work > UNPACKED else min(time, UNPACKED // work)


def _side(n: int) -> int:
    """Height and width of the squares that a product is cut into."""
    return next((c for c in COLUMNS if n % c == 0), n)


class Slopes:
    """The gradients in the gates of the steps that wait to be gathered; of all, where letters are told apart at last.

    `all`: (G, steps B, H), with a product apart (G + 1, steps B, H): those in what x brings, then in what h brings.
    """

    def __init__(self, site: Site, gates: Gates) -> None:
        inputs, self.rows, self.time = len(site.theta["weight_ih_l0"]), gates.rows, gates.time
        self.steps = steps_gathered(gates.rows, gates.time, inputs, gates.units, gates.wide)
        self._kept = gates.time if site.shape.vocabulary is not None else self.steps
        self.all = site.loose("slopes", (gates.count + gates.apart, self._kept * gates.rows, gates.units))
        self.of_input, self.of_state = self.all[: gates.count], self.all[int(gates.apart) :]

    def at(self, t: int, slopes: Array, steps: int = 1) -> Array:
        """(G, steps B, H) of step t and those behind it."""
        place = t % self._kept * self.rows
        return slopes[:, place : place + min(steps, self.time - t) * self.rows]

    def together(self, values: Array, slopes: Array) -> Iterator[tuple[int, Array, Array]]:
        """(first step, (n, k) values, (G, n, H) slopes) of the steps that go into one product."""
        for t in range(0, self.time, self.steps):
            theirs = self.at(t, slopes, self.steps)
            yield t, values[t * self.rows : t * self.rows + theirs.shape[1]], theirs


def bind_gradients(site: Site, gates: Gates, source: Source, slopes: Slopes, before: Array) -> Walk:
    """The gradients in the weights. before: (T or more, B, H), the state that each step read."""
    gradient, count, units = site.gradient, gates.count, gates.units
    dW, dU = (site.loose(f"d_{k}", (count, len(gradient[f"weight_{k}_l0"]), units)) for k in ("ih", "hh"))
    db, db_state = (site.loose(name, (count, 1, units)) for name in ("d_b", "d_b_state"))
    ones, h = np.ones((gates.time * gates.rows, 1), site.dtype), before[: gates.time].reshape(-1, units)
    terms: list[Term] = [(dU, h, slopes.of_state)]
    if not source.ids:
        terms += [(dW, source.flat, slopes.of_input), (db, ones, slopes.of_input)]
    if gates.apart:
        terms.append((db_state[-1:], ones, slopes.of_state[-1:]))
    begin, gather = _bind_terms(site, slopes, terms)
    own = {"weight_ih_l0": dW, "weight_hh_l0": dU, "bias_ih_l0": db, "bias_hh_l0": db_state}
    moves = [
        (gradient[name][..., theirs], part if "weight" in name else part[0])
        for name, found in own.items()
        for part, theirs in zip(found, gates.order("hh" in name), strict=True)
    ]
    same = count - 1 if gates.apart else count  # biases with one gradient, neighbours on both sides

    def end() -> None:
        if source.ids:
            scatter_rows(site, source.flat, slopes.of_input, dW)
            total(dW, 1, None, db, True)  # every step has one letter
        np.copyto(db_state[:same], db[-same:])
        for theirs, ours in moves:
            np.copyto(theirs, ours)

    return Walk(gather, begin, end)


def _bind_terms(site: Site, slopes: Slopes, terms: list[Term]) -> tuple[Step, AtTime]:
    """out = values' slopes over all steps, for each (out, values, slopes)."""
    work: list[list[tuple[Array, Array, Array, Array, Array]]] = [[] for _ in range(slopes.time)]
    for k, (out, values, gates) in enumerate(terms):
        part = site.loose(f"part{k}", out.shape)
        for t, some, theirs in slopes.together(values, gates):
            work[t].append((*_outer(some, theirs, part), part, out))

    def begin() -> None:
        for out, _, _ in terms:
            out.fill(0)

    def gather(t: int) -> None:
        for left, right, cut, part, out in work[t]:
            np.matmul(left, right, cut)
            np.add(out, part, out)

    return begin, gather


def _outer(a: Array, b: Array, out: Array) -> Term:
    """(a', b, out) as matmul takes them, in squares where that pays. a: (rows, k), b: (G, rows, n), out: (G, k, n)."""
    (rows, k), n = a.shape, b.shape[-1]
    height, width = _side(k), _side(n)
    if k == 1 or rows * height * width > UNPACKED:
        return a.T, b, out
    left = a.reshape(rows, -1, 1, height).transpose(1, 2, 3, 0)
    right, cut = b.reshape(len(b), 1, rows, -1, width), out.reshape(len(out), -1, height, n // width, width)
    return left, right.swapaxes(2, 3), cut.swapaxes(2, 3)
