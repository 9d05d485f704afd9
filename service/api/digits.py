"""Numbers in fewer decimal digits: a chart needs seven, and each that is left out is a byte less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.storage import Series

MOST = 14  # with more, a double times a power of ten is no whole number any more
_EXACT = 22  # the largest power of ten that is a double


def rounded(numbers: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """The doubles nearest to these with so many significant decimal digits; what is not finite stays.

    A whole number times or by an exact power of ten is the nearest double to that decimal, so that it is written short.
    """
    found = numbers.copy()
    told = np.flatnonzero(np.isfinite(numbers) & (numbers != 0))
    places = digits - 1 - np.floor(np.log10(np.abs(numbers[told]))).astype(np.int64)
    plain = np.abs(places) <= _EXACT
    power = 10.0 ** np.abs(places[plain])
    chosen, up = numbers[told[plain]], places[plain] >= 0
    found[told[plain]] = np.where(up, np.rint(chosen * power) / power, np.rint(chosen / power) * power)
    for i in told[~plain]:  # the very small and the very large; the largest of all would become infinite
        short = float(f"{numbers[i]:.{digits - 1}e}")
        found[i] = short if np.isfinite(short) else numbers[i]
    return found


def shortened(series: Series, digits: int) -> Series:
    """A series with its values and rates so rounded."""
    rates = None if series.rows_per_s is None else rounded(series.rows_per_s, digits)
    return replace(series, values=rounded(series.values, digits), rows_per_s=rates)
