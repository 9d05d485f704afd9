"""To which epoch a step belongs, and how fast rows went by in it, as the run told it at each epoch's end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from service.storage.curve import Ask, read
from service.storage.rows import Series
from service.storage.tables import series

_TOLD = select(series).where(
    series.c.run_key == bindparam("run_key"), series.c.name.in_(bindparam("names", expanding=True))
)
NAMES = {"epochs": "epoch", "rows_per_s": "rows_per_s"}  # in a series' columns: by the metric that tells it
Numbers = NDArray[np.float64]


class Epochs:
    """Of one run. A step's epoch is the first that ends at it or behind it; NaN while that one has not ended."""

    def __init__(self, connection: Connection, run_key: int) -> None:
        told = {"run_key": run_key, "names": list(NAMES.values())}
        self._told = {row.name: read(connection, row, Ask()) for row in connection.execute(_TOLD, told).all()}

    def of(self, steps: Any) -> dict[str, Any]:
        """`epochs` and `rows_per_s` of each step."""
        return {column: _at(self._told.get(name), steps) for column, name in NAMES.items()}


def _at(told: Series | None, steps: Any) -> Numbers:
    if told is None:
        return np.full(len(steps), np.nan)
    behind = np.append(told.values, np.nan)
    found: Numbers = behind[np.searchsorted(told.steps, steps)]
    return found
