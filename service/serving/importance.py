"""What each column of a table is worth to a model: how much worse it does when the column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from service.data import Applied, Flat, Part
from service.tensors import Array

MOST_NUMBERS = 4_000_000  # of x, looked at together; more rows than that are a sample
Score = Callable[[Part], float]


def importance(applied: Applied, ids: Array, score: Score, repetitions: int) -> Iterator[float | dict[str, Any]]:
    """Permutation importance by the loss: the share that is done, again and again; the report comes last.

    Breiman 2001; on rows held back, each column shuffled `repetitions` times. Columns that tell the same share their
    worth, and each may look worthless.
    """
    encoder = applied.preprocessor.encoder
    if not isinstance(encoder, Flat):
        raise TypeError("only rows of columns have columns")
    random = np.random.default_rng(0)
    most = max(1, MOST_NUMBERS // encoder.width)
    part = applied.part(ids if len(ids) <= most else np.sort(random.permutation(ids)[:most]))
    base, told = score(part), list[dict[str, Any]]()
    for at, feature in enumerate(encoder.features):
        rises = []
        for _ in range(repetitions):
            x = part.x.copy()
            x[:, feature.places] = x[random.permutation(len(x))][:, feature.places]
            rises.append(score(Part(x, part.y, part.rows)) - base)
        told.append({"feature": feature.name, "rise": float(np.mean(rises)), "deviation": float(np.std(rises))})
        yield (at + 1) / len(encoder.features)
    told.sort(key=lambda each: -each["rise"])
    yield {"metric": "loss", "value": base, "rows": len(part.x), "repetitions": repetitions, "features": told}
