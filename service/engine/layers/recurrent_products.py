"""The products of a recurrent layer, cut where that pays: few rows, and weights that wait in the first cache."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.matmul import UNPACKED, width_of
from service.engine.layers.recurrent_gradients import Slopes
from service.engine.layers.recurrent_weights import (
    LIGHT,
    AtTime,
    Gates,
    Source,
    Walk,
    scaled,
    scaled_bias,
)

SEVERAL = 256  # rows of a product whose weights do not stay in the cache
NEAR = 65_536  # numbers of what x brings to the next steps, which stays in the second cache


def steps_at_once(rows: int, time: int, inputs: int, units: int, wide: int) -> int:
    """For how many steps x is multiplied at once: all, or as many as stay in the cache."""
    work = rows * inputs * width_of(rows, inputs, units)
    if work > UNPACKED or inputs * wide > LIGHT:
        return time
    return max(1, min(time, UNPACKED // work, NEAR // (rows * wide)))


def bind_projection(site: Site, gates: Gates, source: Source, cut: Step) -> tuple[Step, AtTime, list[Array]]:
    """(what is done first, what is done before step t, p[t]: (G, B, H), scale (x W + b)).

    Numbers are multiplied for a few steps at once, or for all; of ids the rows are taken step by step. `cut`: what
    else is to be made of the weights.
    """
    weigh, enter, p = (_letters if source.ids else _numbers)(site, gates, source)

    def prepare() -> None:
        weigh()
        cut()

    if site.frozen:
        prepare()
        return source.load, enter, p

    def project() -> None:
        prepare()
        source.load()

    return project, enter, p


def _letters(site: Site, gates: Gates, source: Source) -> tuple[Step, AtTime, list[Array]]:
    pieces, weigh = scaled(site, gates, "weight_ih_l0", gates.units)
    b, weigh_bias = scaled_bias(site, gates)
    table, p = pieces.squeeze(1), site.loose("p", gates.u.shape)
    ids = source.flat.reshape(gates.time, gates.rows)

    def prepare() -> None:
        weigh()
        weigh_bias()
        np.add(table, b, table)

    return prepare, lambda t: table.take(ids[t], 1, p, "clip"), [p] * gates.time


def _numbers(site: Site, gates: Gates, source: Source) -> tuple[Step, AtTime, list[Array]]:
    rows, time, units, inputs = gates.rows, gates.time, gates.units, len(site.theta["weight_ih_l0"])
    span = steps_at_once(rows, time, inputs, units, gates.wide)
    width = width_of(span * rows, inputs, units)
    pieces, weigh = scaled(site, gates, "weight_ih_l0", width)
    b, weigh_bias = scaled_bias(site, gates)
    alone = rows == 1  # then a step is one block of memory the other way round
    shape = (span, gates.count, units) if alone else (gates.count, span * rows, units)
    p = site.loose("p", shape).swapaxes(0, 1) if alone else site.loose("p", shape)
    tile = b if span == time else site.loose("b_tile", p.shape)  # added twice as fast
    works: list[tuple[Array, Array, Array, Array] | None] = [None] * time
    for t in range(0, time, span):
        x = source.flat[t * rows : (t + span) * rows]
        part = p[:, : len(x)]
        works[t] = x, part.reshape(gates.count, len(x), -1, width).swapaxes(1, 2), part, tile[:, : len(x)]

    def prepare() -> None:
        weigh()
        weigh_bias()
        if tile is not b:
            np.copyto(tile, b)

    def enter(t: int) -> None:
        work = works[t]
        if work is not None:
            x, out, part, bias = work
            np.matmul(x, pieces, out)
            np.add(part, bias, part)

    return prepare, enter, [p[:, t % span * rows : (t % span + 1) * rows] for t in range(time)]


def bind_state_product(site: Site, gates: Gates, h: list[Array]) -> tuple[Step, AtTime]:
    """(what is made of U, t: u = h[t] U), gate by gate."""
    rows, units = site.rows, gates.units
    width = width_of(rows, units, units)
    pieces, weigh = scaled(site, gates, "weight_hh_l0", width)
    u = gates.u.reshape(gates.count, rows, -1, width).swapaxes(1, 2)
    return weigh, lambda t: np.matmul(h[t], pieces, u)


def bind_back_product(
    site: Site, gates: Gates, name: str, slopes: Slopes, d: Array, out: Array, span: int = 1
) -> Walk:  # fmt: skip
    """out[t] = d[t] W', W without the scale, for `span` steps at once. d: (G, steps B, H), out: (T or more, B, n),
    contiguous. Each gate's share is a product of its own, whose weights stay in the first cache; one more adds them."""
    weight, count, units = site.theta[name], gates.count, gates.units
    n, width = len(weight), width_of(span * gates.rows, units, len(weight))
    pieces = site.loose(f"{name}_back", (count, n // width, units, width))
    pairs = [
        (piece, weight[:, theirs].reshape(-1, width, units).swapaxes(1, 2))
        for piece, theirs in zip(pieces, gates.order("hh" in name), strict=True)
    ]
    alone, ones = count == 1, np.ones(count, out.dtype)
    room = site.loose(f"{name}_shares", (0 if alone else count * span * gates.rows * n,))
    work: list[tuple[Array, Array, Array, Array] | None] = [None] * gates.time
    for t in range(0, gates.time, span):
        slope, target = slopes.at(t, d, span), out[t : t + span].reshape(-1)
        shares = target[None] if alone else room[: count * target.size].reshape(count, -1)
        cut = shares.reshape(count, -1, n // width, width).swapaxes(1, 2)
        work[t] = slope[:, None], cut, shares, target

    def fetch() -> None:
        for ours, theirs in pairs:
            np.copyto(ours, theirs)

    def product(t: int) -> None:
        given = work[t]
        if given is not None:
            slope, cut, shares, target = given
            np.matmul(slope, pieces, cut)
            if not alone:
                ones.dot(shares, target)

    return Walk(product, fetch)


def bind_to_input(site: Site, gates: Gates, slopes: Slopes) -> Walk:
    """dx = d W', for several steps at once where the weights are heavy."""
    assert site.dx is not None
    dx = site.dx.swapaxes(0, 1)
    straight = dx.flags.c_contiguous
    whole = dx if straight else site.loose("dx", dx.shape)
    light = site.theta["weight_ih_l0"].size <= LIGHT
    span = 1 if light else max(1, min(gates.time, SEVERAL // gates.rows))
    walk = bind_back_product(site, gates, "weight_ih_l0", slopes, slopes.of_input, whole, span)
    return walk if straight else replace(walk, end=partial(np.copyto, dx, whole))
