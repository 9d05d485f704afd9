"""Convolution by columns: every position's window is copied side by side, and one matrix product does the rest."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.conv_planes import planes
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, in_turn, taps
from service.engine.layers.matmul import gram, product

FEW = 8  # channels below which windows are copied plane by plane: runs of one channel are too short


def columns(task: Task, site: Site) -> Method:
    """Any kernel, stride, dilation and groups. Chellapilla et al. 2006 (im2col)."""
    if task.groups == 1 and task.channels < FEW:
        return planes(task, site)
    begin = [partial(site.gradient[name].fill, 0) for name in ("weight",) if name in site.gradient]
    return Method((1,) * task.rank, task.reads, partial(_rows, task, site), begin=tuple(begin))


def _per_row(task: Task) -> int:
    return task.parts * task.positions * (int(np.prod(task.window.kernel)) * task.channels + task.filters)


def _fixed(task: Task) -> int:
    return 2 * int(np.prod(task.window.kernel)) * task.channels * task.filters // task.groups


COLUMNS = Algorithm(columns, _per_row, _fixed)


def _rows(task: Task, site: Site, x: Array, dx: Array | None, alone: bool) -> Kernel:
    """Columns are (groups, positions, holes * channels of the group)."""
    g, k, r = task.groups, task.window.kernel, task.rank
    seen, lies = _window(x, task), (*task.phase, *task.grid, x.shape[r])
    col = site.loose(f"col{x.shape[r]}", (g, *lies, *k, task.channels // g))
    z = site.loose(f"z{x.shape[r]}", (task.parts, *task.grid, x.shape[r], task.filters))
    flat = col.reshape(g, -1, int(np.prod(k)) * task.channels // g)
    out = z.reshape(-1, g, task.filters // g).transpose(1, 0, 2)
    W = _grouped(site.theta["weight"], g)
    copy = partial(np.copyto, np.moveaxis(col, 0, -2), seen)
    multiply = product(flat[0], W[0], out[0]) if g == 1 else partial(np.matmul, flat, W, out)
    steps: list[Step] = [] if alone else [copy]
    if site.backward:
        steps += _weights(site, flat, out, g)
    if dx is not None:
        steps += _back(task, site, W, out, flat, np.moveaxis(col, 0, -2), dx)
    return Kernel(tuple(z), in_turn(copy, multiply), in_turn(*steps))


def _window(x: Array, task: Task) -> Array:
    """(*phase, *grid, rows, *kernel, groups, channels of the group)"""
    r = task.rank
    seen = taps(x, task)
    seen = np.moveaxis(seen, 3 * r, 2 * r)
    return seen.reshape(*seen.shape[:-1], task.groups, -1) if task.groups > 1 else seen[..., None, :]


def _grouped(W: Array, groups: int) -> Array:
    """(groups, holes * channels of the group, filters of the group); a view."""
    filters = W.shape[-1]
    return W.reshape(-1, groups, filters // groups).transpose(1, 0, 2)


def _weights(site: Site, col: Array, dz: Array, g: int) -> list[Step]:
    dW = _grouped(site.gradient["weight"], g)
    if g == 1:
        return [gram(site, col[0], dz[0], dW[0])]
    spare = site.loose("dW", dW.shape)
    return [partial(np.matmul, col.transpose(0, 2, 1), dz, spare), partial(np.add, dW, spare, dW)]


def _back(task: Task, site: Site, W: Array, dz: Array, flat: Array, dcol: Array, dx: Array) -> list[Step]:
    """The columns' gradient takes the columns' memory, then each hole adds its own to the input's."""
    g, r = task.groups, task.rank
    turned = site.loose("turned", (g, W.shape[2], W.shape[1]))  # a transposed copy: OpenBLAS is slow at a b^T
    multiply = product(dz[0], turned[0], flat[0]) if g == 1 else partial(np.matmul, dz, turned, flat)
    steps: list[Step] = [partial(np.copyto, turned, W.transpose(0, 2, 1)), multiply, partial(dx.fill, 0)]
    to = _window(dx, task)
    for hole in np.ndindex(*task.window.kernel):
        at = (*(slice(None),) * (2 * r + 1), *hole)
        steps.append(partial(np.add, to[at], dcol[at], to[at]))
    return steps
