"""Packing points: lossless for any of them, small for the usual ones, and damage is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidData
from service.storage import block, outline
from service.storage.block import Columns, Points

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def any_points(draw: st.DrawFn) -> Points:
    steps = sorted(draw(st.sets(INT64 | st.integers(0, 100), min_size=1, max_size=40)))
    n = len(steps)
    values = draw(st.lists(st.floats() | st.floats(width=32), min_size=n, max_size=n))
    times = draw(st.lists(INT64 | st.integers(0, 1 << 42), min_size=n, max_size=n))
    return block.points(steps, values, times)


def same(found: Columns, points: Points) -> bool:
    return found.points().tobytes() == points.tobytes()


@settings(max_examples=200, deadline=None)
@given(st.lists(any_points(), min_size=1, max_size=4))
def test_sealing_loses_nothing(pieces: list[Points]) -> None:
    assert same(block.opened([block.seal(piece) for piece in pieces]), np.concatenate(pieces))


def test_nothing_opened_is_nothing() -> None:
    assert len(block.opened([]).points()) == 0


@pytest.mark.parametrize(
    ("bytes_a_point", "values"),
    [
        (4, np.random.default_rng(0).standard_normal(2048).astype(np.float32)),  # what a float32 engine measures
        (8, np.random.default_rng(0).standard_normal(2048)),
        (0.2, np.full(2048, 0.1)),  # a learning rate
    ],
    ids=["float32", "float64", "constant"],
)
def test_usual_points_seal_small(bytes_a_point: float, values: NDArray[Any]) -> None:
    times = 1_700_000_000_000 + np.arange(2048) // 20 * 100  # flushed every 20 points
    sealed = block.seal(block.points(np.arange(2048) * 10, values, times))
    assert len(sealed) / 2048 <= bytes_a_point


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_bytes_are_told_or_give_some_points(data: st.DataObject) -> None:
    sealed = bytearray(block.seal(block.points(np.arange(100), np.sin(np.arange(100)), 0)))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(sealed)))
    for damaged in (bytes(sealed), bytes(sealed[:cut])):
        try:
            block.opened([damaged])
        except InvalidData:
            continue


@settings(max_examples=100, deadline=None)
@given(any_points(), st.integers(1, 7))
def test_an_outline_says_of_every_stretch_what_its_points_say(points: Points, size: int) -> None:
    starts = np.arange(0, len(points), size)
    stretches = outline.outline(points, starts)
    for stretch, start in zip(stretches, starts, strict=True):
        mine = points[start : start + size]
        finite = mine[np.isfinite(mine["value"])]
        assert (stretch["n"], stretch["nonfinite"]) == (len(mine), len(mine) - len(finite))
        assert (stretch["first"]["step"], stretch["last"]["step"]) == (mine["step"][0], mine["step"][-1])
        if len(finite):
            assert stretch["min"]["step"] == finite["step"][finite["value"].argmin()]
            assert stretch["max"]["step"] == finite["step"][finite["value"].argmax()]


@pytest.mark.parametrize("n", [1, 255, 256, 257, 512, 1000])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 0.5])
def test_even_stretches_are_those_of_their_starts(n: int, odd: float) -> None:
    values = np.round(np.sin(np.arange(n) / 9), 1)  # extremes that come again
    values[n // 2 :: 3] = values[-1] = odd
    points = block.points(np.arange(n), values, 0)
    starts = np.arange(0, n, outline.STRETCH_POINTS)
    assert outline.outline(points).tobytes() == outline.outline(points, starts).tobytes()


@settings(max_examples=100, deadline=None)
@given(any_points(), st.integers(1, 5), st.integers(1, 5))
def test_joining_stretches_is_outlining_longer_ones(points: Points, size: int, together: int) -> None:
    short = outline.outline(points, np.arange(0, len(points), size))
    joined = outline.joined(short, np.arange(0, len(short), together))
    long = outline.outline(points, np.arange(0, len(points), size * together))
    for field in ("n", "nonfinite", "first", "last"):
        assert joined[field].tobytes() == long[field].tobytes()
    known = long["n"] > long["nonfinite"]
    for field in ("min", "max"):
        assert joined[field][known].tobytes() == long[field][known].tobytes()
