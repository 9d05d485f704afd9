"""Matrix products cut into pieces small enough for OpenBLAS's kernel that does not pack."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Site, Step

UNPACKED = 1_000_000  # OpenBLAS (SkylakeX and later) skips packing when m n k is at most this
SKINNY = 10_000  # k n from which the packed kernel is as fast: measured 64 x 144 below, 64 x 288 above
FEWEST = 24  # rows of a piece; fewer leave the registers half empty
COLUMNS = (64, 32)  # widths of a piece that the kernel without packing is quick with


def product(a: Array, b: Array, out: Array) -> Step:
    """out = a b for a: (rows, k), b: (k, n), bound; with a small b the rows go in pieces, 30 to 60 % faster."""
    count = _piece(len(a), *b.shape)
    whole = len(a) // count * count
    if whole == count:
        return partial(np.matmul, a, b, out)
    main = partial(np.matmul, _pieces(a[:whole], count), b, _pieces(out[:whole], count))
    if whole == len(a):
        return main
    rest = partial(np.matmul, a[whole:], b, out[whole:])

    def both() -> None:
        main()
        rest()

    return both


def width_of(rows: int, k: int, n: int) -> int:
    """Columns of a piece of (rows, k) (k, n): narrow enough for the kernel without packing, else all of them."""
    return next((c for c in COLUMNS if n % c == 0 and rows * k * c <= UNPACKED), n)


def by_columns(a: Array, b: Array, out: Array) -> tuple[Array, Array, Array]:
    """(a, b, out) as matmul takes them; with few rows in columns of b: up to 1.7 x faster with 16 of them."""
    (rows, k), n = a.shape, b.shape[1]
    width = width_of(rows, k, n)
    if width == n or rows * k * n <= UNPACKED:
        return a, b, out
    pieces, outs = (each.reshape(len(each), n // width, width).swapaxes(0, 1) for each in (b, out))
    return a, pieces, outs


def gram(site: Site, a: Array, b: Array, out: Array) -> Step:
    """out += a^T b for a: (rows, k), b: (rows, n), bound; in pieces as above."""
    k, n = out.shape
    count = _piece(len(a), k, n)
    whole = len(a) // count * count
    parts = site.loose(f"gram{len(a)}", (-(-len(a) // count), k, n))
    left, right = _pieces(a[:whole], count).swapaxes(1, 2), _pieces(b[:whole], count)
    many, rest, rest_left, rest_right = parts[: whole // count], parts[-1], a[whole:].T, b[whole:]

    def step() -> None:
        np.matmul(left, right, many)
        if whole < len(a):
            np.matmul(rest_left, rest_right, rest)
        for part in parts:
            np.add(out, part, out)

    return step


def _piece(rows: int, k: int, n: int) -> int:
    """Rows of a piece; all of them when cutting does not pay."""
    if k * n > SKINNY or rows * k * n <= UNPACKED:
        return rows
    count = rows // -(-rows * k * n // UNPACKED)
    return count if count >= FEWEST else rows


def _pieces(a: Array, count: int) -> Array:
    return a.reshape(len(a) // count, count, a.shape[1])
