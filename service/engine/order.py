"""The order in which an epoch sees the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.engine.randomness import generator
from service.engine.recipe import TrainingSpec


def epoch_order(spec: TrainingSpec, rows: int, epoch: int) -> NDArray[np.intp]:
    """Row numbers, batch after batch; decided by (seed, epoch).

    Stateful: the rows are consecutive windows of a long text; stream b of the batch walks through its own stretch,
    so that step s + 1 goes on where step s ended; rows that do not fill a stretch are left out.
    """
    if spec.stateful:
        steps = rows // spec.batch_size
        return (np.arange(spec.batch_size)[None, :] * steps + np.arange(steps)[:, None]).reshape(-1)
    if spec.shuffle:
        return generator(spec.seed, "order", epoch).permutation(rows)
    return np.arange(rows)
