"""Which trials of a search end early, by the rule of asynchronous successive halving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from jobs_machine import Machine, digits

from service import storage
from service.jobs.rungs import Rungs
from service.specs import Halving
from service.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
    yield opened
    opened.close()


def rungs(store: Store, others: Sequence[Sequence[float]], monitor: str = "val_loss", **halving: int) -> Rungs:
    """Beside trials with these values, epoch by epoch."""
    ids = []
    for values in others:
        ids.append(store.runs.create_external().id)
        steps = 10 * np.arange(1, len(values) + 1)
        store.metrics.append(ids[-1], {monitor: (steps, np.array(values), steps)})
    return Rungs(store, tuple(ids), Halving(**halving), monitor)


def test_the_first_that_come_to_a_rung_go_on(store: Store) -> None:
    assert not rungs(store, []).ends(1, {"val_loss": 9.0})
    assert not rungs(store, [[0.1], [0.2, 0.1]]).ends(3, {"val_loss": 9.0}), "nobody else has three epochs"


@pytest.mark.parametrize(("value", "ends"), [(0.5, False), (1.5, True), (float("nan"), True)])
def test_a_third_of_those_that_got_there_goes_on(store: Store, value: float, ends: bool) -> None:
    assert rungs(store, [[1.0], [2.0]]).ends(1, {"val_loss": value}) == ends


def test_of_six_the_best_two_go_on(store: Store) -> None:
    beside = rungs(store, [[1.0], [2.0], [3.0], [4.0], [5.0]])
    assert [beside.ends(1, {"val_loss": value}) for value in (0.5, 1.5, 2.5)] == [False, False, True]


def test_more_is_better_where_the_score_says_so(store: Store) -> None:
    beside = rungs(store, [[0.7], [0.8]], "val_accuracy")
    assert not beside.ends(1, {"val_accuracy": 0.9})
    assert beside.ends(1, {"val_accuracy": 0.75})


def test_only_rungs_are_looked_at_and_what_others_had_there(store: Store) -> None:
    beside = rungs(store, [[9, 1, 9, 9], [9, 1, 9, 9], [9, 1, 0, 0]], least_epochs=2, factor=2)
    worse_than_all = {"val_loss": 10.0}
    assert [epoch for epoch in range(1, 20) if beside.ends(epoch, worse_than_all)] == [2, 4]
    assert not beside.ends(4, {"val_loss": 8.0}), "one of four is better, and the best two go on"
    assert beside.ends(2, {"val_loss": 8.0})


def test_equals_and_the_unmeasured_go_on(store: Store) -> None:
    assert not rungs(store, [[1.0], [1.0]]).ends(1, {"val_loss": 1.0})
    assert not rungs(store, [[1.0], [1.0]]).ends(1, {"train_loss": 5.0})
    assert not rungs(store, [[float("nan")], [float("nan")]]).ends(1, {"val_loss": 1.0})


def test_a_search_ends_the_hopeless_early_and_leaves_the_others_as_they_are(machine: Machine) -> None:
    rates = [0.05, *(1e-6 * k for k in range(1, 6))]
    plain = digits(9)["spec"]
    candidates = {"kind": "grid", "fields": {"optimizer.learning_rate": rates}}
    search = {"train": plain, "candidates": candidates, "halving": {"factor": 3}}
    job = machine.until(machine.submit({"type": "search", "spec": search}), "succeeded")
    losses = [machine.store.metrics.series(run, ["val_loss"])["val_loss"].values.tolist() for run in job.run_ids]
    ends = [machine.store.runs.get(run).report["stopped_by"] for run in job.run_ids]
    assert ends == ["epochs", "epochs", "halving", "halving", "halving", "halving"]
    assert [len(each) for each in losses] == [9, 9, 1, 1, 1, 3], "of six the best two go on; of three the best"
    alone = machine.until(machine.submit(digits(9, optimizer={"kind": "adam", "learning_rate": rates[5]})), "succeeded")
    assert machine.points(alone)["val_loss"][1][:3] == losses[5]
