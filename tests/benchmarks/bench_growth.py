"""What a training costs grows with its rows, epochs and units, and no faster; `make bench-growth`.

A network of 128 inputs, one hidden layer and 10 classes, batches of 128. Processor seconds, the least of three.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise

import numpy as np
import pytest

from service.engine import Examples, Recipe, Signature, Training

pytestmark = pytest.mark.benchmark

USUAL = {"rows": 8_192, "epochs": 4, "units": 256}
GROWING = {"rows": (4_096, 8_192, 16_384, 32_768), "epochs": (2, 4, 8, 16), "units": (128, 256, 512, 1_024)}
MOST = 2.4  # times the cost for twice the work: linear, and what a larger network loses in the caches


def cost_s(rows: int, epochs: int, units: int) -> float:
    random = np.random.default_rng(0)
    examples = Examples(random.random((rows, 128), np.float32), random.integers(0, 10, rows).astype(np.int32))
    layers = [{"kind": "dense", "units": units, "activation": "relu"}, {"kind": "dense", "units": 10}]
    recipe = Recipe.model_validate(
        {
            "network": {"layers": layers},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "training": {"epochs": epochs, "batch_size": 128, "shards": 1},
            "metrics": [],
        }
    )
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        for _ in Training(recipe, Signature((128,)), 10, examples):
            pass
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.parametrize("what", GROWING)
def test_twice_the_work_costs_twice_as_much(what: str) -> None:
    found = [cost_s(**USUAL | {what: value}) for value in GROWING[what]]
    times = [after / before for before, after in pairwise(found)]
    cells = "  ".join(f"{value:>6,}: {cost:6.3f} s" for value, cost in zip(GROWING[what], found, strict=True))
    sys.stdout.write(f"\n{what:7} {cells}   for twice the work {', '.join(f'{each:.2f}' for each in times)} x\n")
    assert max(times) < MOST
