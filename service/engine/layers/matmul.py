"""Matrix products cut into pieces small enough for OpenBLAS's kernel that does not pack."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.engine.contract import Array, Step

UNPACKED = 1_000_000  # OpenBLAS (SkylakeX and later) skips packing when m n k is at most this
SKINNY = 10_000  # k n from which the packed kernel is as fast: measured 64 x 144 below, 64 x 288 above
FEWEST = 24  # rows of a piece; fewer leave the registers half empty


def product(a: Array, b: Array, out: Array) -> Step:
    """out = a b for a: (rows, k), b: (k, n), bound; with a small b the rows go in pieces, 30 to 60 % faster."""
    rows, k, n = *a.shape, b.shape[1]
    if k * n > SKINNY or rows * k * n <= UNPACKED:
        return partial(np.matmul, a, b, out)
    pieces = -(-rows * k * n // UNPACKED)
    count = rows // pieces
    if count < FEWEST:
        return partial(np.matmul, a, b, out)
    whole = rows // count * count
    main = partial(np.matmul, _pieces(a[:whole], count), b, _pieces(out[:whole], count))
    if whole == rows:
        return main
    rest = partial(np.matmul, a[whole:], b, out[whole:])

    def both() -> None:
        main()
        rest()

    return both


def gram(a: Array, b: Array, out: Array, spare: Array) -> Step:
    """out += a^T b for a: (rows, k), b: (rows, n), bound; `spare`: (k, n), overwritten."""
    transposed = a.T

    def step() -> None:
        np.matmul(transposed, b, spare)
        np.add(out, spare, out)

    return step



def _pieces(a: Array, count: int) -> Array:
    return a.reshape(len(a) // count, count, a.shape[1])
