"""Every optimizer reaches the bottom of a parabola and of Rosenbrock's valley."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from engine_examples import EVERY_OPTIMIZER

from service.engine.contract import Array
from service.engine.optimizers import OptimizerSpec
from service.engine.update import bind_update, slot_arrays

OPTIMIZER = pytest.mark.parametrize("optimizer", [e for _, e in EVERY_OPTIMIZER], ids=[n for n, _ in EVERY_OPTIMIZER])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def parabola(p: Array) -> tuple[float, Array]:
    """f = sum (p - target)^2, lowest 0 at the target."""
    target = np.array([1.0, -2.0, 0.5])
    return float(((p - target) ** 2).sum()), 2 * (p - target)


def rosenbrock(p: Array) -> tuple[float, Array]:
    """f = (1 - a)^2 + 100 (b - a^2)^2, lowest 0 at (1, 1)."""
    a, b = p
    slope = np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
    return float((1 - a) ** 2 + 100 * (b - a * a) ** 2), slope


def descend(
    optimizer: OptimizerSpec, f: Callable[[Array], tuple[float, Array]], start: Array, steps: int, scale: float
) -> float:
    """The height reached; the gradient is multiplied by `scale`, which plain descent needs in a steep valley."""
    theta, gradient = start.copy(), np.zeros_like(start)
    update = bind_update(optimizer, theta, gradient, slot_arrays(optimizer, theta))
    for t in range(1, steps + 1):
        gradient[:] = scale * f(theta)[1]
        update(t, optimizer.learning_rate * (1 - t / (steps + 1)))
    return f(theta.astype(float))[0]


@DTYPES
@OPTIMIZER
def test_an_optimizer_reaches_the_bottom_of_a_parabola(optimizer: OptimizerSpec, dtype: str) -> None:
    assert descend(optimizer, parabola, np.zeros(3, dtype), 3000, 1.0) < 1e-4


@DTYPES
@OPTIMIZER
def test_an_optimizer_reaches_the_bottom_of_rosenbrocks_valley(optimizer: OptimizerSpec, dtype: str) -> None:
    plain = not optimizer.slots or optimizer.slots == ("velocity",)
    assert descend(optimizer, rosenbrock, np.array([-1.0, 1.5], dtype), 15_000, 0.005 if plain else 1.0) < 0.02


def test_pieces_of_the_vector_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(chunk: int) -> bytes:
        monkeypatch.setattr("service.engine.update.CHUNK", chunk)
        found = b""
        for _, optimizer in EVERY_OPTIMIZER:
            random = np.random.default_rng(0)
            theta, gradient = (random.standard_normal(1000).astype(np.float32) for _ in range(2))
            update = bind_update(optimizer, theta, gradient, slot_arrays(optimizer, theta))
            update(1, 0.1)
            update(2, 0.1)
            found += theta.tobytes()
        return found

    assert moved(1_000_000) == moved(64)
