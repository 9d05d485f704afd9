"""Splits: decided by seed and row, the same everywhere, nothing lost and nothing twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.split import part_sizes, split, splitmix64


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 0.5), st.floats(0, 0.45), st.integers(0, 2**63 - 1))
def test_every_row_lands_in_exactly_one_part(rows: int, validation: float, test: float, seed: int) -> None:
    parts = split(np.arange(rows), validation, test, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert tuple(map(len, parts)) == part_sizes(rows, validation, test)
    assert all((np.diff(part) > 0).all() for part in parts)


def test_without_fractions_nothing_moves() -> None:
    ids = np.array([3, 5, 9])
    train, validation, test = split(ids, 0.0, 0.0, 7)
    assert train is ids
    assert not len(validation)
    assert not len(test)


def test_the_same_seed_keeps_the_same_rows_aside_and_another_seed_others() -> None:
    ids = np.arange(1000)
    assert split(ids, 0.1, 0.1, 7)[1].tolist() == split(ids, 0.1, 0.1, 7)[1].tolist()
    assert split(ids, 0.1, 0.1, 7)[1].tolist() != split(ids, 0.1, 0.1, 8)[1].tolist()


def test_another_validation_part_leaves_the_test_rows_as_they_are() -> None:
    ids = np.arange(1000)
    assert split(ids, 0.1, 0.2, 7)[2].tolist() == split(ids, 0.3, 0.2, 7)[2].tolist()


def test_ranks_aresplitmix64() -> None:
    # Reference output of splitmix64 for seed 1234567, from Vigna's C implementation (prng.di.unimi.it/splitmix64.c)
    first = int(splitmix64(np.array([1234567], np.uint64))[0])
    assert first == 6457827717110365317
