"""The loops in C leave the bits that NumPy's passes leave; where no compiler was, there is nothing to compare."""

from __future__ import annotations

import numpy as np
import pytest
from engine_examples import EVERY_OPTIMIZER

from service.engine import loops
from service.engine.contract import Array, Step
from service.engine.optimizers import OptimizerSpec
from service.engine.update import bind_update, slot_arrays

BUILT = pytest.mark.skipif(not loops.BUILT, reason="service.engine._loops was not built: no C compiler")
EVERY = pytest.mark.parametrize("optimizer", [e for _, e in EVERY_OPTIMIZER], ids=[n for n, _ in EVERY_OPTIMIZER])


def moved(optimizer: OptimizerSpec, dtype: str, size: int) -> list[bytes]:
    """The parameters and all that is remembered after five steps down a slope of wild sizes."""
    random = np.random.default_rng(0)
    theta, gradient = random.standard_normal(size).astype(dtype), np.zeros(size, dtype)
    slots = slot_arrays(optimizer, theta)
    update = bind_update(optimizer, theta, gradient, slots)
    for t in range(1, 6):
        gradient[:] = random.standard_normal(size) * 10.0 ** random.integers(-30, 8, size)
        gradient[random.random(size) < 0.1] = 0
        update(t, 0.1 / t)
    return [theta.tobytes(), *(slot.tobytes() for slot in slots.values())]


@BUILT
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EVERY
def test_a_loop_leaves_the_same_bits_as_the_passes(
    optimizer: OptimizerSpec, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 7, 1000, 70_001):
        looped = moved(optimizer, dtype, size)
        with monkeypatch.context() as patch:
            patch.setattr(loops, "BUILT", False)
            assert moved(optimizer, dtype, size) == looped


@BUILT
def test_what_does_not_fit_a_loop_is_refused() -> None:
    four, eight, short = np.zeros(4, np.float32), np.zeros(4), np.zeros(3, np.float32)
    apart, whole, once = np.zeros(8, np.float32)[::2], np.zeros(4, np.int32), np.zeros(1, np.float32)
    fixed = four.copy()
    fixed.flags.writeable = False
    bad: list[tuple[str, tuple[Array, ...], Array]] = [
        ("descend", (four, eight), once), ("descend", (four, short), once), ("descend", (four,), once),
        ("descend", (four, apart), once), ("descend", (whole, whole), once), ("descend", (fixed, four), once),
        ("descend", (four, four), four), ("descend", (four, four), np.zeros(1)), ("ascend", (four, four), once),
        ("descend", (), once), ("adam", (four, four), once),
    ]  # fmt: skip
    for name, arrays, constants in bad:
        with pytest.raises((ValueError, BufferError)):
            loops.bound(name, arrays, constants)
    assert loops.bound("descend", (four, four), once) is not None


@BUILT
def test_a_loop_keeps_its_arrays_alive() -> None:
    def bind() -> tuple[Step, Array]:
        theta = np.ones(100_000, np.float32)
        run = loops.bound("descend", (theta, np.full(100_000, 2, np.float32)), np.array([0.25], np.float32))
        assert run is not None
        return run, theta

    run, theta = bind()
    np.zeros(300_000).fill(7)  # would reuse what was let go
    run()
    assert (theta == 0.5).all()


@BUILT
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_relu_by_the_loop_has_the_bits_of_the_passes(dtype: str) -> None:
    for shape, turned in (((7,), False), ((300, 70), False), ((300, 70), True)):
        random = np.random.default_rng(0)
        y, dy = (random.standard_normal(shape).astype(dtype) for _ in range(2))
        y, dy = (y.T, dy.T) if turned else (y, dy)
        y[random.random(y.shape) < 0.2] = 0
        dy[random.random(y.shape) < 0.2] = -0.0
        expected = dy * (y > 0)
        vectors = loops.flat(y, dy, dy)
        assert vectors is not None
        gate = loops.bound("gate", vectors, np.zeros(1, dtype))
        assert gate is not None
        gate()
        assert dy.tobytes("A") == expected.tobytes("A")


def test_arrays_are_vectors_only_where_they_lie_alike_and_without_gaps() -> None:
    rows, columns, wide = np.zeros((4, 5)), np.zeros((5, 4)).T, np.zeros((4, 8))
    assert loops.flat(rows, columns) is None
    assert loops.flat(wide[:, :5], wide[:, 3:]) is None
    assert loops.flat(rows, None) is None
    assert [each.shape for each in loops.flat(columns, columns.copy("K")) or ()] == [(20,), (20,)]
