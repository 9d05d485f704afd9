"""Depthwise convolution: each channel by itself, hole by hole over whole planes."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, in_turn, taps


def is_depthwise(task: Task) -> bool:
    """As many groups as channels and as filters."""
    return task.groups == task.channels == task.filters and task.groups > 1


def depthwise(task: Task, site: Site) -> Method:
    """z = sum over holes of x moved by the hole, times the hole's weight of its channel. Chollet 2017."""
    dW = site.gradient.get("weight")
    begin: tuple[Step, ...] = () if dW is None else (partial(dW.fill, 0),)
    return Method((1,) * task.rank, task.reads, partial(_bind, task, site), begin=begin)


def _per_row(task: Task) -> int:
    return (2 * task.parts * task.positions + int(np.prod(task.window.kernel))) * task.channels


def _fixed(task: Task) -> int:
    return int(np.prod(task.window.kernel)) * task.channels


DEPTHWISE = Algorithm(depthwise, _per_row, _fixed)


def _bind(task: Task, site: Site, x: Array, dx: Array | None, alone: bool) -> Kernel:
    n, c, r = x.shape[task.rank], task.channels, task.rank
    holes = int(np.prod(task.window.kernel))
    z = site.loose(f"z{n}", (*task.phase, *task.grid, n, c))
    t = site.loose(f"t{n}", z.shape)
    W, wide = site.theta["weight"].reshape(holes, c), site.loose(f"wide{n}", (holes, n, c))
    seen = _by_hole(taps(x, task), task)
    forward: list[Step] = [partial(np.copyto, wide, W[:, None]), partial(np.multiply, seen[0], wide[0], z)]
    for x_hole, w in zip(seen[1:], wide[1:], strict=True):
        forward += [partial(np.multiply, x_hole, w, t), partial(np.add, z, t, z)]
    backward: list[Step] = []
    if site.backward:
        backward += _weights(site, seen, z, t, holes)
    if dx is not None:
        backward.append(partial(dx.fill, 0))
        for to, w in zip(_by_hole(taps(dx, task), task), wide, strict=True):
            backward += [partial(np.multiply, z, w, t), partial(np.add, to, t, to)]
    return Kernel(tuple(z.reshape(-1, *z.shape[r:])), in_turn(*forward), in_turn(*backward))


def _weights(site: Site, seen: list[Array], dz: Array, t: Array, holes: int) -> list[Step]:
    flat, spare = t.reshape(-1, t.shape[-1]), site.loose("dW", (holes, t.shape[-1]))
    dW, ones = site.gradient["weight"].reshape(spare.shape), np.ones(len(flat), t.dtype)
    steps: list[Step] = []
    for x_hole, row in zip(seen, spare, strict=True):
        steps += [partial(np.multiply, x_hole, dz, t), partial(ones.dot, flat, row)]
    return [*steps, partial(np.add, dW, spare, dW)]


def _by_hole(seen: Array, task: Task) -> list[Array]:
    """For each hole (*phase, *grid, rows, channels)."""
    r = task.rank
    return [seen[(*(slice(None),) * (2 * r), *hole)] for hole in np.ndindex(*task.window.kernel)]
