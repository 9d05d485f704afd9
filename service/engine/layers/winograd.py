"""Winograd's F(2 x 2, 3 x 3): four outputs of a 3 x 3 kernel from 16 products instead of 36, with the exact adjoint."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.layers.kernel import Algorithm, Kernel, Method, Task, in_turn

LEAST = 8  # channels and filters below which the transforms cost more than they save
TILES = 100, 400  # of a whole batch, below which the weights' transform is not worth it: with and without backward


def fits_winograd(task: Task, rows: int, backward: bool) -> bool:
    """A 3 x 3 kernel on neighbouring pixels, enough channels and enough tiles."""
    enough = rows * task.positions >= TILES[0 if backward else 1]
    w = task.window
    plain = w.kernel == (3, 3) and w.strides == w.dilation == (1, 1) and task.groups == 1
    return plain and min(task.channels, task.filters) >= LEAST and enough


def winograd(task: Task, site: Site) -> Method:
    """z = A^T ((G w G^T) * (B^T x B)) A for tiles of 4 x 4 that overlap by 2. Lavin and Gray 2016, with the last row
    of B^T and the last column of A^T negated.

    B^T = 1  0 -1  0    G = 1    0    0     A^T = 1  1  1  0
          0  1  1  0        1/2  1/2  1/2         0  1 -1  1
          0 -1  1  0        1/2 -1/2  1/2
          0 -1  0  1        0    0    1
    Every transform works on planes of (tiles, rows, channels) at once: 16 planes in, 16 products, 4 planes out.
    """
    (th, tw), c, f = task.grid, task.channels, task.filters
    w, wide = site.theta["weight"], site.loose("wide", (4, 3, c, f))
    U, turned, dU = site.loose("U", (4, 4, c, f)), site.loose("turned", (4, 4, f, c)), site.loose("dU", (4, 4, c, f))
    method = partial(Method, (2, 2), (th + 1, tw + 1), partial(_bind, task, site, U, turned, dU))
    prepare: tuple[Step, ...] = (partial(_weights_in, w, U, wide),)
    if not site.backward:
        return method(prepare)
    prepare = (*prepare, partial(np.copyto, turned, U.transpose(0, 1, 3, 2)))
    return method(prepare, (partial(dU.fill, 0),), (partial(_weights_out, dU, site.gradient["weight"], wide),))


def _per_row(task: Task) -> int:
    (th, tw), c = task.grid, task.channels
    return 16 * th * tw * (c + task.filters) + 8 * th * (tw + 1) * c


def _fixed(task: Task) -> int:
    return 76 * task.channels * task.filters


WINOGRAD = Algorithm(winograd, _per_row, _fixed)


def _weights_in(w: Array, U: Array, wide: Array) -> None:
    """U = G w G^T, w: (3, 3, channels, filters), U: (4, 4, channels, filters)."""
    half = np.array(0.5, w.dtype)
    for out, (a, b, c) in ((wide, w), (U.swapaxes(0, 1), wide.swapaxes(0, 1))):
        out[0], out[3] = a, c
        np.add(a, c, out[1])
        np.subtract(out[1], b, out[2])
        np.add(out[1], b, out[1])
        np.multiply(out[1:3], half, out[1:3])


def _weights_out(dU: Array, dw: Array, wide: Array) -> None:
    """dw = G^T dU G; overwrites dU."""
    half = np.array(0.5, dw.dtype)
    for (a, b, c, d), out in ((dU.swapaxes(0, 1), wide.swapaxes(0, 1)), (wide, dw)):
        np.multiply(b, half, b)
        np.multiply(c, half, c)
        np.subtract(b, c, out[1])
        np.add(b, c, b)
        np.add(a, b, out[0])
        np.add(d, b, out[2])


def _bind(
    task: Task, site: Site, U: Array, turned: Array, dU: Array, x: Array, dx: Array | None, alone: bool
) -> Kernel:
    """The numbers of a part of z, and of dz, lie in a corner of M: nothing is copied between transforms."""
    (th, tw), n, c, f = task.grid, x.shape[4], task.channels, task.filters
    T, V = site.loose(f"T{n}", (4, 2, th, tw + 1, n, c)), site.loose(f"V{n}", (4, 4, th, tw, n, c))
    M, spare = site.loose(f"M{n}", (4, 4, th, tw, n, f)), site.loose("spare", (16, c, f))
    tiles, across = _input(x, T, V), M[::3].swapaxes(0, 1)
    v, m, u, u_t, du = (each.reshape(16, -1, each.shape[-1]) for each in (V, M, U, turned, dU))
    forward: list[Step] = [*tiles, partial(np.matmul, v, u, m), *_output(M), *_output(across)]
    backward: list[Step] = [] if alone else [*tiles]
    backward += [*_output_back(across), *_output_back(M)]
    backward += [partial(np.matmul, v.swapaxes(1, 2), m, spare), partial(np.add, du, spare, du)]
    if dx is not None:
        backward += [partial(np.matmul, m, u_t, v), *_input_back(V, T, dx)]
    return Kernel((M[0, 0], M[0, 3], M[3, 0], M[3, 3]), in_turn(*forward), in_turn(*backward))


def _input(x: Array, T: Array, V: Array) -> list[Step]:
    """V = B^T x B. x: (2, 2, th + 1, tw + 1, rows, channels), even and odd pixels apart; T: after the first B^T."""
    down = _tile(np.moveaxis(x[0], 1, 0), np.moveaxis(x[1], 1, 0), np.moveaxis(T, 2, 1))
    return down + _tile(np.moveaxis(T[:, 0], 2, 0), np.moveaxis(T[:, 1], 2, 0), np.moveaxis(V.swapaxes(0, 1), 3, 1))


def _tile(even: Array, odd: Array, out: Array) -> list[Step]:
    """out = B^T d for d = even[i], odd[i], even[i + 1], odd[i + 1]."""
    d0, d1, d2, d3 = even[:-1], odd[:-1], even[1:], odd[1:]
    return [
        partial(np.subtract, d0, d2, out[0]),
        partial(np.add, d1, d2, out[1]),
        partial(np.subtract, d2, d1, out[2]),
        partial(np.subtract, d3, d1, out[3]),
    ]


def _input_back(V: Array, T: Array, dx: Array) -> list[Step]:
    """dx = B dV B^T, tiles added where they overlap; overwrites dV."""
    across = _untile(np.moveaxis(V.swapaxes(0, 1), 3, 1), np.moveaxis(T[:, 0], 2, 0), np.moveaxis(T[:, 1], 2, 0))
    return across + _untile(np.moveaxis(T, 2, 1), np.moveaxis(dx[0], 1, 0), np.moveaxis(dx[1], 1, 0))


def _untile(v: Array, even: Array, odd: Array) -> list[Step]:
    """The adjoint of _tile: d = B v is (v0, v1 - v2 - v3, v1 + v2 - v0, v3)."""
    v0, v1, v2, v3 = v
    return [
        partial(np.subtract, v1, v2, odd[:-1]),
        partial(np.subtract, odd[:-1], v3, odd[:-1]),
        partial(np.add, odd[1:-1], v3[:-1], odd[1:-1]),
        partial(np.copyto, odd[-1], v3[-1]),
        partial(np.add, v1, v2, v2),
        partial(np.subtract, v2, v0, v2),
        partial(np.add, v0[1:], v2[:-1], even[1:-1]),
        partial(np.copyto, even[0], v0[0]),
        partial(np.copyto, even[-1], v2[-1]),
    ]


def _output(m: Array) -> list[Step]:
    """A^T m for m: (4, ...), in place: the two rows of the result in m[0] and m[3]."""
    return [
        partial(np.add, m[0], m[1], m[0]),
        partial(np.add, m[0], m[2], m[0]),
        partial(np.subtract, m[1], m[2], m[1]),
        partial(np.add, m[3], m[1], m[3]),
    ]


def _output_back(m: Array) -> list[Step]:
    """A z for z in m[0] and m[3], in place."""
    return [partial(np.add, m[0], m[3], m[1]), partial(np.subtract, m[0], m[3], m[2])]
