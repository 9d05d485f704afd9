"""Metrics against a plain dict: written in any order, again and in pieces, they are what the last writing said."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import clock, storage
from service.errors import Conflict, NotFound
from service.storage import Attempt, Job, Reduce, Report, Series, Store

FLOATS = st.floats(width=32) | st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])
HOWS: tuple[Reduce, ...] = ("minmax", "last", "mean", "lttb")


@dataclass
class Plain:
    """What the store should be: value and time by step."""

    points: dict[int, tuple[float, int]] = field(default_factory=dict)

    def write(self, steps: Any, values: Any, times: Any) -> None:
        self.points.update(zip(steps, zip(values, times, strict=True), strict=True))

    def columns(self, low: int = 0, high: int = 1 << 60) -> tuple[list[int], list[float], list[int]]:
        steps = [step for step in sorted(self.points) if low <= step <= high]
        return steps, [self.points[step][0] for step in steps], [self.points[step][1] for step in steps]


def same(series: Series, plain: tuple[list[int], list[float], list[int]]) -> bool:
    steps, values, times = plain
    bits = np.asarray(values, np.float64).view(np.int64)
    got = series.steps.tolist(), series.values.view(np.int64).tolist(), series.times.tolist()
    return bool(got == (steps, bits.tolist(), times))


@st.composite
def writings(draw: st.DrawFn) -> tuple[list[int], list[float], list[int]]:
    """A stretch of steps, regular or not, long enough for several sealed blocks at times; shuffled at times."""
    n = draw(st.sampled_from([1, 2, 3, 50, 700, 2048, 2049, 5000]))
    start, stride = draw(st.integers(0, 9000)), draw(st.sampled_from([1, 1, 2, 7]))
    steps = [start + stride * place for place in range(n)]
    some = draw(st.lists(FLOATS, min_size=1, max_size=8))
    values = [some[place % len(some)] for place in range(n)]
    if draw(st.booleans()):
        draw(st.randoms(use_true_random=False)).shuffle(steps)
    time = draw(st.integers(0, 1 << 42))
    return steps, values, [time + place for place in range(n)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(writings(), min_size=1, max_size=6), st.integers(0, 15000), st.integers(0, 15000))
def test_metrics_are_what_the_last_writing_said(
    store: Store, pieces: list[tuple[list[int], list[float], list[int]]], low: int, high: int
) -> None:
    run, plain = store.runs.create_external(), Plain()
    for piece in pieces:
        store.metrics.append(run.id, {"loss": piece})
        plain.write(*piece)
        assert same(store.metrics.series(run.id)["loss"], plain.columns())
    assert same(store.metrics.series(run.id, from_step=low, to_step=high)["loss"], plain.columns(low, high))
    assert_summary(store.metrics.summary([run.id])[run.id]["loss"], plain)
    store.runs.end_external(run.id, "succeeded")  # seals the tail
    assert same(store.metrics.series(run.id)["loss"], plain.columns())


def assert_summary(summary: dict[str, Any], plain: Plain) -> None:
    steps, values, _ = plain.columns()
    finite = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    assert (summary["n"], summary["nonfinite"]) == (len(steps), len(steps) - len(finite))
    for place, at in (("first", 0), ("last", -1)):
        value = values[at] if math.isfinite(values[at]) else None
        assert summary[place] == {"value": value, "step": steps[at]}
    for place, choose in (("min", min), ("max", max)):
        extreme = choose((value for _, value in finite), default=None)
        step = next((step for step, value in finite if value == extreme), None)
        assert summary[place] == {"value": extreme, "step": step}
    if finite and all(abs(value) < 1e9 for _, value in finite):
        assert math.isclose(summary["mean"], math.fsum(value for _, value in finite) / len(finite), abs_tol=1e-3)
    assert summary["best"] == (summary["min"] if finite else None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0, 1, 5, 124, 127, 1018, 1023]), st.lists(st.tuples(st.integers(-2, 3), FLOATS), max_size=8))
def test_points_told_one_by_one_are_those_told_together(
    store: Store, before: int, later: list[tuple[int, float]]
) -> None:
    run, plain, step = store.runs.create_external(), Plain(), before
    pieces = [([place], [math.sin(place)], [place]) for place in range(before)]
    if before:
        together = tuple([each[0] for each in column] for column in zip(*pieces, strict=True))
        store.metrics.append(run.id, {"loss": together})
    for on, value in later:
        step = max(0, step + on)
        pieces.append(([step], [value], [step]))
        store.metrics.append(run.id, {"loss": pieces[-1]})
    for piece in pieces:
        plain.write(*piece)
    if pieces:
        assert same(store.metrics.series(run.id)["loss"], plain.columns())
        assert_summary(store.metrics.summary([run.id])[run.id]["loss"], plain)
        latest = store.metrics.latest([run.id])[run.id]["loss"]
        assert (latest.step, latest.time) == (max(plain.points), plain.columns()[2][-1])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(writings(), min_size=1, max_size=4), st.integers(5, 900), st.sampled_from(HOWS), st.booleans())
def test_a_reduced_series_keeps_within_its_points_and_its_extremes(
    store: Store, pieces: list[tuple[list[int], list[float], list[int]]], max_points: int, how: Reduce, whole: bool
) -> None:
    run, plain = store.runs.create_external(), Plain()
    for piece in pieces:
        store.metrics.append(run.id, {"loss": piece})
        plain.write(*piece)
    low, high = (0, 1 << 60) if whole else (1000, 8000)
    steps, values, _ = plain.columns(low, high)
    got = store.metrics.series(run.id, from_step=low, to_step=high, max_points=max_points, reduce=how)["loss"]
    assert got.n == len(steps)
    assert got.reduced == (how if len(steps) > max_points else None)
    assert len(got.steps) <= max_points
    assert (np.diff(got.steps) > 0).all()
    assert set(got.steps.tolist()) <= set(steps)
    finite = [value for value in values if math.isfinite(value)]
    if how == "minmax" and finite:
        shown = got.values[np.isfinite(got.values)]
        assert (shown.min(), shown.max()) == (min(finite), max(finite))
        assert (got.steps[0], got.steps[-1]) == (steps[0], steps[-1])
        assert np.isfinite(got.values).all() == (len(finite) == len(values))
    if how != "mean":
        assert all(
            value.hex() == plain.points[step][0].hex()
            for step, value in zip(got.steps.tolist(), got.values.tolist(), strict=True)
        )


@pytest.fixture
def attempt(store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt]) -> Attempt:
    submit()
    return claim()


def test_a_resumed_run_rewrites_its_tail_and_never_doubles_it(store: Store, attempt: Attempt, claim: Any) -> None:
    def trained(first: int, last: int) -> Report:
        steps = np.arange(first, last)
        ends = steps[steps % 100 == 0]
        return Report(series={"batch_loss": (steps, 1 / (1 + steps)), "val_loss": (ends, ends * 2.0)})

    for first in range(0, 6000, 500):
        store.runs.report(attempt, trained(first, first + 500))
    store.runs.lose(attempt, "killed")
    again = claim()  # its checkpoint was at step 3000
    for first in range(3000, 9000, 250):
        store.runs.report(again, trained(first, first + 250))
    series = store.metrics.series(attempt.run_id)
    assert series["batch_loss"].steps.tolist() == list(range(9000))
    assert (series["batch_loss"].values == 1 / (1 + np.arange(9000))).all()
    assert series["val_loss"].steps.tolist() == list(range(0, 9000, 100))
    assert store.metrics.summary([attempt.run_id])[attempt.run_id]["batch_loss"]["n"] == 9000


def test_a_point_knows_its_time_even_when_nobody_told_it(store: Store, attempt: Attempt) -> None:
    before = clock.now().timestamp() * 1000
    store.runs.report(attempt, Report(series={"val_loss": ([1], [0.5])}))
    (time,) = store.metrics.series(attempt.run_id)["val_loss"].times.tolist()
    assert before - 1 <= time <= clock.now().timestamp() * 1000


def test_non_finite_values_are_kept_as_they_are(store: Store, attempt: Attempt) -> None:
    values = [1.0, math.nan, math.inf, -math.inf, 2.0]
    store.runs.report(attempt, Report(series={"val_loss": (range(5), values)}))
    got = store.metrics.series(attempt.run_id)["val_loss"].values.tolist()
    assert [str(value) for value in got] == ["1.0", "nan", "inf", "-inf", "2.0"]
    summary = store.runs.get(attempt.run_id).summary["val_loss"]
    assert (summary["nonfinite"], summary["mean"], summary["best"]) == (3, 1.5, {"value": 1.0, "step": 0})


def test_a_series_without_a_finite_value_has_no_best(store: Store, attempt: Attempt) -> None:
    store.runs.report(attempt, Report(series={"val_loss": ([1, 2], [math.nan, math.inf])}))
    summary = store.runs.get(attempt.run_id).summary["val_loss"]
    assert (summary["best"], summary["min"], summary["mean"]) == (None, {"value": None, "step": None}, None)


def test_names_can_be_chosen_and_unknown_ones_are_left_out(store: Store, attempt: Attempt) -> None:
    store.runs.report(attempt, Report(series={"a": ([1], [1]), "b": ([1], [2]), "c": ([1], [3])}))
    assert list(store.metrics.series(attempt.run_id)) == ["a", "b", "c"]
    assert list(store.metrics.series(attempt.run_id, ["c", "a", "nothing"])) == ["a", "c"]


def test_many_runs_are_asked_at_once(store: Store) -> None:
    runs = [store.runs.create_external().id for _ in range(3)]
    for place, run_id in enumerate(runs):
        store.metrics.append(run_id, {"loss": ([1], [place]), "other": ([1], [0])})
    found = store.metrics.query([*runs, "run_none"], ["loss"])
    assert {run_id: series["loss"].values.tolist() for run_id, series in found.items()} == {
        run_id: [float(place)] for place, run_id in enumerate(runs)
    }
    assert set(store.metrics.summary(runs)) == set(runs)


def test_a_run_that_is_not_there_has_no_metrics(store: Store) -> None:
    with pytest.raises(NotFound):
        store.metrics.series("run_none")
    with pytest.raises(NotFound):
        store.metrics.append("run_none", {"loss": ([1], [1])})


def test_only_a_running_external_run_takes_metrics_from_outside(store: Store, attempt: Attempt) -> None:
    with pytest.raises(Conflict):
        store.metrics.append(attempt.run_id, {"loss": ([1], [1])})
    external = store.runs.create_external()
    store.runs.end_external(external.id, "succeeded")
    with pytest.raises(Conflict):
        store.metrics.append(external.id, {"loss": ([1], [1])})
    assert store.metrics.series(attempt.run_id) == store.metrics.series(external.id) == {}


def test_every_spike_of_a_long_series_survives_in_few_points(store: Store) -> None:
    rng = np.random.default_rng(5)
    values = np.exp(-np.arange(6000) / 2000) + 0.01 * rng.standard_normal(6000)
    spikes = np.sort(rng.choice(6000, 10, replace=False))
    values[spikes] += np.where(np.arange(10) % 2, 5.0, -5.0)
    run = store.runs.create_external()
    store.metrics.append(run.id, {"loss": (np.arange(6000), values)})
    for max_points in (100, 500):
        assert set(spikes.tolist()) <= set(store.metrics.series(run.id, max_points=max_points)["loss"].steps.tolist())


@pytest.mark.parametrize(
    ("n", "apart"), [(6_000, 1), (6_000, 9), (100_000, 1_000), (300_000, 1), (300_000, 9), (300_000, 400)]
)
def test_spikes_of_one_height_that_are_close_to_each_other_all_survive(n: int, apart: int, store: Store) -> None:
    values = np.random.default_rng(0).random(n)
    spikes = 2_000 + apart * np.arange(10)
    values[spikes] = 99.0
    run = store.runs.create_external()
    store.metrics.append(run.id, {"loss": (np.arange(n), values), "fall": (np.arange(n), -values)})
    for found in store.metrics.series(run.id, max_points=500).values():
        assert found.steps[np.abs(found.values) == 99.0].tolist() == spikes.tolist()
        assert len(found.steps) <= 500


def test_spikes_in_the_tail_and_beside_what_is_not_finite_survive_in_a_long_series(store: Store) -> None:
    values = np.sin(np.arange(300_500) / 9e3)
    values[[5_000, 150_000, 300_495]] = np.nan, np.inf, -np.inf
    spikes = {5_001: 9.0, 5_002: -9.0, 5_003: 9.0, 300_490: 8.0, 300_491: 8.0}
    values[list(spikes)] = list(spikes.values())
    run = store.runs.create_external()
    store.metrics.append(run.id, {"loss": (np.arange(len(values)), values)})
    found = store.metrics.series(run.id, max_points=500)["loss"]
    assert {5_000, 150_000, 300_495, *spikes} <= set(found.steps.tolist())
    assert len(found.steps) <= 500
    assert len(np.unique(found.steps)) == len(found.steps)
    np.testing.assert_array_equal(values[found.steps], found.values)


def test_a_mean_of_the_largest_numbers_is_a_number(store: Store) -> None:
    run, steps = store.runs.create_external(), np.arange(5_000)
    store.metrics.append(run.id, {"high": (steps, np.full(5_000, 1.7e308)), "low": (steps, np.full(5_000, -1.7e308))})
    for max_points in (5, 2_000):
        found = store.metrics.series(run.id, max_points=max_points, reduce="mean")
        assert set(found["high"].values) == {1.7e308}
        assert set(found["low"].values) == {-1.7e308}


def test_the_same_question_gives_the_same_bytes_twice(store: Store) -> None:
    run, steps = store.runs.create_external(), np.arange(100_000)
    store.metrics.append(run.id, {"loss": (steps, np.sin(steps / 700))})
    for how in HOWS:
        first, second = (store.metrics.series(run.id, max_points=300, reduce=how)["loss"] for _ in range(2))
        assert [each.tobytes() for each in (first.steps, first.values, first.times)] == [
            each.tobytes() for each in (second.steps, second.values, second.times)
        ]


def test_a_chart_from_outlines_is_one_from_the_points(store: Store) -> None:
    """A mean is compared with NumPy's over the same buckets: 102,400 points in 50 buckets of 8 whole stretches."""
    run, steps = store.runs.create_external(), np.arange(102_400)
    values = np.random.default_rng(1).standard_normal(len(steps))
    store.metrics.append(run.id, {"loss": (steps, values)})
    mean = store.metrics.series(run.id, max_points=50, reduce="mean")["loss"]
    np.testing.assert_allclose(mean.values, values.reshape(50, -1).mean(axis=1), rtol=1e-12)
    assert mean.steps.tolist() == steps.reshape(50, -1)[:, -1].tolist()
    chart = store.metrics.series(run.id, max_points=112)["loss"]  # ten of them for the outermost of all
    buckets = values.reshape(50, -1)
    assert set(buckets.min(axis=1)) | set(buckets.max(axis=1)) <= set(chart.values)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("val_loss", "min"), ("loss", "min"), ("test_perplexity_excluding_oov", "min"), ("error_rate", "min"),
        ("rmse", "min"), ("val_accuracy", "max"), ("f1", "max"), ("macro_f1", "max"), ("auc", "max"), ("r2", "max"),
        ("learning_rate", None), ("epoch", None), ("rows_per_s", None), ("grad_norm", None), ("macro", None),
        ("val/f1", "max"), ("eval.Dice", "max"), ("NDCG@10", "max"), ("rougeL", "max"), ("mAP50", "max"),
        ("top5", "max"), ("Val Acc", "max"), ("ppl", "min"), ("train-ppl", "min"), ("KL", "min"), ("fid_score", "min"),
        ("cross_entropy", "min"), ("stderr", None), ("topology", None), ("accumulate", None), ("policy_entropy", None),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_tells_its_best_end(name: str, end: str | None) -> None:
    assert storage.direction(name) == end


def test_readers_see_whole_reports_only(store: Store, attempt: Attempt) -> None:
    """Two series written in one report always have the same length, whenever they are read."""
    done = threading.Event()

    def write() -> None:
        for step in range(60):
            store.runs.report(attempt, Report(series={"a": ([step], [1]), "b": ([step], [1])}))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    looks = 0
    while not done.is_set():
        series = store.metrics.series(attempt.run_id)
        assert [len(each.steps) for each in series.values()] in ([], [len(series["a"].steps)] * 2 if series else [])
        looks += 1
    thread.join()
    assert looks > 0
