"""External runs: logged into, ended, opened again, forgotten; and what readers get of them bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from service.errors import Conflict, InvalidSpec, NotFound, TooLarge
from service.storage import Idempotency, Job, Run, Said, Store, metrics
from service.storage.params import params


def test_a_spec_is_found_by_the_paths_of_its_fields() -> None:
    spec = {
        "optimizer": {"kind": "adam", "learning_rate": 1e-5, "clip": None},
        "layers": [{"kind": "dense", "units": 8}, {"units": 9}], "shuffle": True, "name": "x",
    }  # fmt: skip
    assert params(spec) == {
        "optimizer": "adam", "optimizer.kind": "adam", "optimizer.learning_rate": "1e-05", "layers.0": "dense",
        "layers.0.kind": "dense", "layers.0.units": "8", "layers.1.units": "9", "shuffle": "true", "name": "x",
    }  # fmt: skip


def test_everything_said_at_once_is_kept_or_nothing_is(store: Store) -> None:
    run_id = store.runs.create_external(spec={"seed": 1}, tags=["demo", "team=a"]).id
    before = store.runs.revision(run_id)
    said = Said({"loss": ([1, 2], [0.5, 0.4])}, {"lr": "0.1"}, {"team": "b"}, ("demo",), "named", "why")
    store.runs.log(run_id, said)
    run = store.runs.get(run_id)
    assert (run.spec, run.tags, run.name, run.notes) == ({"seed": 1, "lr": "0.1"}, ("team=b",), "named", "why")
    assert run.summary["loss"]["last"] == {"value": 0.4, "step": 2}
    assert store.runs.revision(run_id) == run.revision > before
    with pytest.raises(InvalidSpec) as error:
        store.runs.log(run_id, Said({"loss": ([3], [0.3])}, {"lr": "0.2"}, {"team": "c"}))
    assert error.value.faults[0].code == "already_set"
    assert store.runs.get(run_id) == run


def test_a_run_of_a_job_can_be_tagged_and_named_but_not_logged_into(store: Store, submit: Callable[..., Job]) -> None:
    run_id = submit(tags=["x"]).run_ids[0]
    store.runs.log(run_id, Said(tags={"team": "b"}))
    assert store.runs.get(run_id).tags == ("x", "team=b")
    assert [run.id for run in store.runs.list(tag="team=b").data] == [run_id]
    for said in (Said({"loss": ([1], [1.0])}), Said(params={"a": "b"})):
        with pytest.raises(Conflict):
            store.runs.log(run_id, said)
    with pytest.raises(Conflict):
        store.runs.delete_external(run_id)


def test_an_ended_run_takes_nothing_until_it_is_opened_again(store: Store) -> None:
    run_id = store.runs.create_external(started_at=datetime(2020, 1, 1, tzinfo=UTC)).id
    store.metrics.append(run_id, {"loss": (range(2000), [1.0] * 2000)})
    ended = store.runs.end_external(run_id, "succeeded", ended_at=datetime(2020, 1, 2, tzinfo=UTC))
    assert (ended.started_at, ended.ended_at) == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
    with pytest.raises(Conflict):
        store.metrics.append(run_id, {"loss": ([2000], [1.0])})
    assert store.runs.reopen_external(run_id).ended_at is None
    store.metrics.append(run_id, {"loss": ([2000], [3.0])})
    assert store.runs.get(run_id).summary["loss"]["n"] == 2001
    store.runs.end_external(run_id, "failed", {"code": "x", "message": "y"})
    store.runs.delete_external(run_id)
    with pytest.raises(NotFound):
        store.runs.get(run_id)


def test_a_key_whose_run_was_deleted_makes_no_second_one(store: Store) -> None:
    keys = Idempotency("made", "1"), Idempotency("taken in", "2")

    def made() -> Run:
        return store.runs.create_external(idempotency_key=keys[0])

    def taken_in() -> Run:
        blob = store.blobs.put({"x": np.zeros(3)}, {}).sha256
        return store.runs.adopt(
            type="train", name=None, spec={}, report={}, receipt=None, weights_sha256=None, model_blob=blob,
            idempotency_key=keys[1],
        )  # fmt: skip

    run, other = made(), taken_in()
    assert (made().id, taken_in().id) == (run.id, other.id)
    store.runs.end_external(run.id, "succeeded")
    store.runs.delete_external(run.id)
    with pytest.raises(Conflict, match="has been deleted"):
        made()
    assert [each.id for each in store.runs.list().data] == [other.id]


def test_an_external_run_of_an_unknown_data_set_is_refused(store: Store) -> None:
    with pytest.raises(InvalidSpec) as error:
        store.runs.create_external(dataset_id="ds_none")
    assert error.value.faults[0].pointer == "/dataset_id"


def test_a_cursor_brings_what_is_new_and_all_of_a_series_that_was_rewritten(store: Store) -> None:
    run_id = store.runs.create_external().id
    store.metrics.append(run_id, {"a": ([1, 2], [1.0, 2.0]), "b": ([1], [1.0])})
    first = store.metrics.news({run_id: None})[run_id]
    assert {name: (list(each.steps), each.continues) for name, each in first.series.items()} == {
        "a": ([1, 2], False), "b": ([1], False),
    }  # fmt: skip
    assert store.metrics.news({run_id: first.next})[run_id].series == {}
    store.metrics.append(run_id, {"a": ([3], [3.0]), "c": ([9], [9.0])})
    second = store.metrics.news({run_id: first.next})[run_id]
    assert {name: (list(each.steps), each.continues) for name, each in second.series.items()} == {
        "a": ([3], True), "c": ([9], False),
    }  # fmt: skip
    store.metrics.append(run_id, {"a": ([2, 3, 4], [7.0, 8.0, 9.0])})
    third = store.metrics.news({run_id: second.next})[run_id]
    assert list(third.series) == ["a"]
    assert (list(third.series["a"].values), third.series["a"].continues) == ([1.0, 7.0, 8.0, 9.0], False)
    assert store.metrics.news({run_id: third.next}, ["a"])[run_id].series == {}
    for bad in ("x", first.next[:-3], "W10", "W3siYSI6IDF9XQ"):
        with pytest.raises(InvalidSpec):
            store.metrics.news({run_id: bad})


def test_each_point_knows_its_epoch_and_the_speed_of_that_epoch(store: Store) -> None:
    run_id = store.runs.create_external().id
    told = {"epoch": ([3, 6], [1.0, 2.0]), "rows_per_s": ([3, 6], [100.0, 200.0]), "loss": (range(1, 9), [0.5] * 8)}
    store.metrics.append(run_id, told)
    loss = store.metrics.series(run_id, ["loss"], epochs=True)["loss"]
    assert loss.epochs[:6].tolist() == [1, 1, 1, 2, 2, 2]
    assert loss.rows_per_s[:6].tolist() == [100, 100, 100, 200, 200, 200]
    assert all(math.isnan(value) for value in [*loss.epochs[6:], *loss.rows_per_s[6:]])
    alone = store.runs.create_external().id
    store.metrics.append(alone, {"loss": ([1], [0.5])})
    assert math.isnan(store.metrics.series(alone, epochs=True)["loss"].epochs[0])


def test_an_answer_of_too_many_points_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_POINTS", 10)
    made = [store.runs.create_external().id for _ in range(2)]
    for run_id in made:
        store.metrics.append(run_id, {"loss": (range(8), [0.5] * 8)})
    assert len(store.metrics.query(made[:1])[made[0]]["loss"].steps) == 8
    with pytest.raises(TooLarge):
        store.metrics.query(made)
    assert len(store.metrics.query(made, max_points=5)) == 2
