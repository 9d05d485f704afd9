"""Every derivative against a central difference, in float64, along one random direction."""

from __future__ import annotations

import numpy as np
import pytest
from engine_examples import EVERY_LAYER, EVERY_LOSS, UNIONS, LayerExample, kinds
from engine_harness import bound, bound_loss, derivative_error, targets_for

from service.engine.losses import LossSpec

STEP = 1e-6
CLOSE = 1e-7


@pytest.mark.parametrize("name", UNIONS)
def test_every_word_of_a_union_has_its_row_of_examples(name: str) -> None:
    union, table = UNIONS[name]
    assert sorted(kinds(union)) == sorted(table)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("example", [e for _, e in EVERY_LAYER], ids=[n for n, _ in EVERY_LAYER])
def test_a_layers_backward_is_the_derivative_of_its_forward(example: LayerExample, rows: int) -> None:
    lengths = None if example.lengths is None else (example.lengths * 4)[:rows]
    it = bound(example.layer, example.shape, rows, lengths=lengths)
    assert derivative_error(it) <= CLOSE


@pytest.mark.parametrize("constant", [True, False], ids=["constant-divisor", "changing-divisor"])
@pytest.mark.parametrize("dims", [(4,), (3, 4)], ids=["rows", "sequences"])
@pytest.mark.parametrize("loss", [e for _, e in EVERY_LOSS], ids=[n for n, _ in EVERY_LOSS])
def test_a_losss_derivative_is_that_of_its_value(loss: LossSpec, dims: tuple[int, ...], constant: bool) -> None:
    random = np.random.default_rng(3)
    shape = (5, *dims)
    masks = [None] if len(dims) == 1 else [None, (random.random((5, 3)) < 0.7).astype(float)]
    for mask in masks:
        it = bound_loss(loss, random.standard_normal(shape), targets_for(loss, shape, random), mask, constant)
        it.value()
        dz, z, u = it.dz.copy(), it.z.copy(), random.standard_normal(shape)
        ends = []
        for sign in (1, -1):
            it.z[...] = z + sign * STEP * u
            ends.append(it.value())
        wanted, given = (ends[0] - ends[1]) / (2 * STEP), float((dz * u).sum())
        assert abs(given - wanted) <= CLOSE * max(1.0, abs(wanted))


@pytest.mark.parametrize("loss", [e for _, e in EVERY_LOSS], ids=[n for n, _ in EVERY_LOSS])
def test_a_loss_has_the_same_value_with_and_without_its_derivative(loss: LossSpec) -> None:
    random = np.random.default_rng(4)
    z, y = random.standard_normal((6, 4)), targets_for(loss, (6, 4), random)
    assert bound_loss(loss, z, y).value() == bound_loss(loss, z, y, look=True).value()
