"""The error function, which NumPy does not have."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.arena import Arena
from service.engine.contract import Array, memory_order
from service.engine.fast import clip

Doubles: TypeAlias = NDArray[np.float64]
CHUNK = 16_384  # numbers of one pass; three arrays of them stay in the second-level cache

# erf(x) = tanh(x P(x^2)) on |x| <= 4, P fitted (weighted least squares, refined towards least maximum) to math.erf;
# the largest error in float32, tanh's own rounding included, is 9.1e-8.
_P = (
    1.1283792476094323, 0.10277138712113575, -0.00020429746424347004, -0.0005983070433349625, 7.124330102137504e-05,
    6.505603228438015e-07, -1.1542462864881623e-06, 1.4113751286055065e-07, -7.604303258581282e-09,
    1.5889412151928341e-10,
)  # fmt: skip
_EDGE, _STEP, _TERMS = 6.0, 1 / 64, 7  # erf(6) is 1 to the last bit of a float64


class Erf:
    """erf over whole arrays without gaps, in any order of axes: within 1e-7 in float32, within 1e-15 in float64."""

    def __init__(self, dtype: np.dtype[Any], arena: Arena) -> None:
        self._double = dtype == np.float64
        self._clipped, self._square = (arena.array(f"erf.{name}", (CHUNK,), dtype) for name in "xu")
        self._powers = [np.array(value, dtype) for value in _P]
        self._low, self._high = np.array(-4, dtype), np.array(4, dtype)

    def __call__(self, x: Array, out: Array) -> None:
        order = memory_order(x)
        flat, result = x.transpose(order).reshape(-1), out.transpose(order).reshape(-1)
        if not np.may_share_memory(result, out):
            raise ValueError("an output with gaps, or in another order than the input")
        for start in range(0, flat.size, CHUNK):
            piece, target = flat[start : start + CHUNK], result[start : start + CHUNK]
            if self._double:
                target[:] = _by_table(piece)
            else:
                self._by_tanh(piece, target)

    def _by_tanh(self, x: Array, out: Array) -> None:
        c, u = self._clipped[: x.size], self._square[: x.size]
        clip(x, self._low, self._high, c)
        np.multiply(c, c, u)
        np.multiply(u, self._powers[-1], out)
        for coefficient in self._powers[-2:0:-1]:
            np.add(out, coefficient, out)
            np.multiply(out, u, out)
        np.add(out, self._powers[0], out)
        np.multiply(out, c, out)
        np.tanh(out, out)


def _by_table(x: Doubles) -> Any:
    """Taylor around the nearest point of a table: erf(a + d) = erf(a) + g sum (-1)^n H_n(a) d^(n+1) / (n+1)!"""
    c = np.clip(x, -_EDGE, _EDGE)
    index = np.rint(c / _STEP).astype(np.intp) + round(_EDGE / _STEP)
    table = _table()
    d = c - (index - round(_EDGE / _STEP)) * _STEP
    total = table[_TERMS][index]
    for row in range(_TERMS - 1, -1, -1):
        total = total * d + table[row][index]
    return total


@cache
def _table() -> Doubles:
    """(terms + 1, points): row n holds the factor of d^n; g = 2 / sqrt(pi) exp(-a^2), H_n Hermite's polynomials."""
    a = np.arange(-round(_EDGE / _STEP), round(_EDGE / _STEP) + 1) * _STEP
    g = 2 / math.sqrt(math.pi) * np.exp(-a * a)
    hermite = [np.ones_like(a), 2 * a]
    for n in range(1, _TERMS):
        hermite.append(2 * a * hermite[n] - 2 * n * hermite[n - 1])
    rows = [np.array([math.erf(each) for each in a])]
    rows += [(-1) ** n * hermite[n] * g / math.factorial(n + 1) for n in range(_TERMS)]
    return np.array(rows)
