"""Columns of an image with few channels: copied plane by plane, for runs of one or three channels are too short."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product as pairs

import numpy as np
from numpy.lib.stride_tricks import as_strided

from service.engine.contract import Array, Site, Step
from service.engine.layers.dense import stacked
from service.engine.layers.kernel import Kernel, Method, Task, in_turn
from service.engine.layers.matmul import gram, product


def planes(task: Task, site: Site) -> Method:
    """Columns are (holes * channels, positions); in x the channels lie apart.

    The last axis of space is in as many parts as a position is from the next one of its part, so neighbours in a
    column are neighbours in x. The bias is one more hole.
    """
    apart = _apart(task)
    cells = (*task.reads[:-1], -(-task.reads[-1] // apart))
    begin = [partial(site.gradient[name].fill, 0) for name in ("weight", "bias") if name in site.gradient]
    split, biased = (*(1,) * (task.rank - 1), apart), "bias" in site.theta
    return Method(split, cells, partial(_bind, task, site), begin=tuple(begin), biased=biased, planes=True)


def _apart(task: Task) -> int:
    """How far apart in x two neighbouring positions of a part are."""
    return task.phase[-1] * task.window.strides[-1]


def _bind(task: Task, site: Site, x: Array, dx: Array | None, alone: bool) -> Kernel:
    k, n = task.window.kernel, x.shape[-2]
    W, dW = _with_bias(site.theta, task.filters), _with_bias(site.gradient, task.filters) if site.backward else None
    flat = site.loose(f"col{n}", (len(W), task.parts * task.positions * n))
    flat[-1] = 1
    holes = int(np.prod(k)) * task.channels
    col = flat[:holes].reshape(*k, task.channels, *task.phase, *task.grid, n)
    z = site.loose(f"z{n}", (task.parts, *task.grid, n, task.filters))
    out = z.reshape(-1, task.filters)
    copies: list[Step] = [partial(np.copyto, to, seen) for to, seen in _seen(col, x, task)]
    steps: list[Step] = [] if alone else [*copies]
    if dW is not None:
        steps.append(gram(site, flat.T, out, dW))
    if dx is not None:
        steps += [partial(np.matmul, W[:holes], out.T, flat[:holes]), partial(dx.fill, 0)]
        for d_col, to in _seen(col, dx, task):
            for hole in np.ndindex(*k[:-1]):
                steps.append(partial(np.add, to[hole], d_col[hole], to[hole]))
    return Kernel(tuple(z), in_turn(*copies, product(flat.T, W, out)), in_turn(*steps))


def _seen(col: Array, x: Array, task: Task) -> Iterator[tuple[Array, Array]]:
    """For each hole and part of the last axis: its place in the columns, and what it sees, both
    (*other holes, channels, *other parts, *grid, rows)."""
    w, r, apart = task.window, task.rank, _apart(task)
    x = x.reshape(*x.shape[r - 1 :]) if x.ndim > r + 2 else x[None]
    x = np.moveaxis(x, -1, 0)
    channel, _, *space, row = x.strides
    step = [stride * s for stride, s in zip(w.strides[:-1], space[:-1], strict=True)]
    hole = [d * s for d, s in zip(w.dilation[:-1], space[:-1], strict=True)]
    jump = [p * s for p, s in zip(task.phase[:-1], step, strict=True)]
    strides = (*hole, channel, *step, *jump, space[-1], row)
    shape = (*w.kernel[:-1], task.channels, *task.phase[:-1], *task.grid, x.shape[-1])
    col = np.moveaxis(col, (r - 1, 2 * r), (0, 1))  # (hole, part) of the last axis first
    for k, a in pairs(range(w.kernel[-1]), range(task.phase[-1])):
        cell, part = divmod(a * w.strides[-1] + k * w.dilation[-1], apart)
        yield col[k, a], as_strided(x[:, part, ..., cell:, :], shape, strides)


def _with_bias(named: dict[str, Array], filters: int) -> Array:
    """(holes * channels, filters), and the bias as one more row where there is one."""
    W = named["weight"].reshape(-1, filters)
    return stacked(W, named["bias"]) if "bias" in named else W
