"""Convolution by columns: every position's window is copied side by side, and one matrix product does the rest."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.dense import stacked
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, in_turn, taps
from service.engine.layers.matmul import gram, product

FEW = 8  # channels below which windows are copied plane by plane: runs of one channel are too short


def columns(task: Task, site: Site) -> Method:
    """Any kernel, stride, dilation and groups. Chellapilla et al. 2006 (im2col)."""
    planes = task.groups == 1 and task.channels < FEW
    begin = [partial(site.gradient[name].fill, 0) for name in ("weight", "bias") if name in site.gradient]
    bind = partial(_planes if planes else _rows, task, site)
    biased = planes and "bias" in site.theta
    return Method((1,) * task.rank, task.reads, bind, begin=tuple(begin), biased=biased)


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


def _planes(task: Task, site: Site, x: Array, dx: Array | None, alone: bool) -> Kernel:
    """Columns are (holes * channels, positions): runs are as long as the block has rows; the bias is one more hole."""
    k, r, n = task.window.kernel, task.rank, x.shape[task.rank]
    W, dW = _with_bias(site.theta, task.filters), _with_bias(site.gradient, task.filters) if site.backward else None
    flat = site.loose(f"col{n}", (len(W), task.parts * task.positions * n))
    flat[-1] = 1
    holes = int(np.prod(k)) * task.channels
    col = flat[:holes].reshape(*k, task.channels, *task.phase, *task.grid, n)
    z = site.loose(f"z{n}", (task.parts, *task.grid, n, task.filters))
    out, order = z.reshape(-1, task.filters), (*range(2 * r, 3 * r), 3 * r + 1, *range(2 * r), 3 * r)
    copy = partial(np.copyto, col, taps(x, task).transpose(order))
    steps: list[Step] = [] if alone else [copy]
    if dW is not None:
        steps.append(gram(site, flat.T, out, dW))
    if dx is not None:
        to = taps(dx, task).transpose(order)
        steps += [partial(np.matmul, W[:holes], out.T, flat[:holes]), partial(dx.fill, 0)]
        steps += [partial(np.add, to[hole], col[hole], to[hole]) for hole in np.ndindex(*k)]
    return Kernel(tuple(z), in_turn(copy, product(flat.T, W, out)), in_turn(*steps))


def _with_bias(named: dict[str, Array], filters: int) -> Array:
    """(holes * channels, filters), and the bias as one more row where there is one."""
    W = named["weight"].reshape(-1, filters)
    return stacked(W, named["bias"]) if "bias" in named else W
