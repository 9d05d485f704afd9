"""A search at the door: what its trials are, and where it is told what is wrong with them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import storage
from service.errors import InvalidSpec, TooLarge
from service.specs import Admitted, admit, parse
from service.specs.candidates import Range, placed, standing
from service.storage import Store

LIMIT = 2_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
    yield opened
    opened.close()


def search(dataset: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    train = {
        "dataset": dataset or {"sample": "iris"},
        "network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
    }
    return {"type": "search", "spec": {"train": train} | given}


def grid(**fields: list[Any]) -> dict[str, Any]:
    return {"kind": "grid", "fields": {name.replace("__", "."): values for name, values in fields.items()}}


def admitted(store: Store, document: dict[str, Any], limit: int = LIMIT) -> Admitted:
    return admit(parse(document), store, limit)


def refused(store: Store, document: dict[str, Any]) -> set[tuple[str, str]]:
    with pytest.raises(InvalidSpec) as caught:
        admitted(store, document)
    return {(fault.pointer, fault.code) for fault in caught.value.faults}


def test_folds_alone_are_the_same_training_with_each_fold_held_back(store: Store) -> None:
    found = admitted(store, search({"sample": "iris", "split": {"kind": "stratified"}, "test": 0.1}, folds=4))
    splits = [trial.spec["dataset"].pop("split") for trial in found.trials]
    assert splits == [{"kind": "fold", "folds": 4, "fold": fold, "stratified": True} for fold in range(4)]
    assert found.trials[0].spec["network"]["layers"][0]["units"] == 3
    assert found.trials[0].spec["loss"]["kind"] == "cross_entropy", "resolved as a training is"
    assert {trial.spec["dataset"]["test"] for trial in found.trials} == {0.1}
    assert "4 trainings" in found.plan.warnings


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [
        ("val_f1", "add 'f1' to train.metrics"),
        ("val_acc", "Did you mean 'val_accuracy'?"),
        ("train_f1", "Did you mean 'train_loss'?"),
        ("val_r2", None),  # it is no score of classes
    ],
)
def test_trials_cannot_be_compared_by_what_they_do_not_measure(store: Store, monitor: str, hint: str | None) -> None:
    with pytest.raises(InvalidSpec) as caught:
        admitted(store, search(folds=2, monitor=monitor))
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/spec/monitor", "unknown_metric")
    assert fault.hint == hint
    watching = search(folds=2)
    watching["spec"]["train"]["training"] = {"early_stopping": {"monitor": monitor}}
    with pytest.raises(InvalidSpec) as caught:
        admitted(store, watching)
    (alike,) = caught.value.faults
    assert alike.pointer == "/spec/train/training/early_stopping/monitor"
    assert (alike.message, alike.allowed) == (fault.message, fault.allowed)
    assert str(alike.hint).replace("to metrics", "to train.metrics") == str(fault.hint)


def test_a_path_of_a_candidate_is_told_where_it_stands(store: Store) -> None:
    with pytest.raises(InvalidSpec) as caught:
        admitted(store, search(folds=2, candidates=grid(learning_rate=[0.1])))
    assert [fault.hint for fault in caught.value.faults] == ["write optimizer.learning_rate"]


def test_a_grid_is_every_combination_on_every_fold(store: Store) -> None:
    fields = grid(optimizer__learning_rate=[0.1, 0.01], training__batch_size=[8, 16, 32])
    found = admitted(store, search(folds=2, candidates=fields))
    tried = [(trial.spec["optimizer"]["learning_rate"], trial.spec["training"]["batch_size"]) for trial in found.trials]
    assert tried[::2] == [(0.1, 8), (0.1, 16), (0.1, 32), (0.01, 8), (0.01, 16), (0.01, 32)]
    assert tried[1::2] == tried[::2]
    assert [trial.spec["dataset"]["split"]["fold"] for trial in found.trials] == [0, 1] * 6


def test_a_random_search_draws_the_same_from_the_same_seed(store: Store) -> None:
    def draw(seed: int) -> list[Any]:
        fields = {"optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "scale": "log"},
                  "training.batch_size": [8, 16]}  # fmt: skip
        what = {"kind": "random", "count": 6, "seed": seed, "fields": fields}
        found = admitted(store, search({"sample": "iris", "validation": 0.2}, candidates=what))
        return [[standing(trial.spec, name) for name in fields] for trial in found.trials]

    assert draw(1) == draw(1) != draw(2)
    assert all(1e-4 <= rate <= 1e-1 and size in (8, 16) for rate, size in draw(1))


def test_a_whole_object_is_a_value(store: Store) -> None:
    optimizers = [{"kind": "sgd", "learning_rate": 0.5}, {"kind": "adam"}]
    found = admitted(store, search(folds=2, candidates=grid(optimizer=optimizers)))
    assert [trial.spec["optimizer"]["kind"] for trial in found.trials] == ["sgd", "sgd", "adam", "adam"]


def test_a_range_is_even_on_its_scale() -> None:
    shares = [(at + 0.5) / 1200 for at in range(1200)]
    dice = Counter(Range(low=1, high=6, integer=True).at(u) for u in shares)
    assert dice == dict.fromkeys(range(1, 7), 200)
    logs = [math.log10(Range(low=1e-3, high=1e3, scale="log").at(u)) for u in shares]
    assert max(abs(each - (6 * u - 3)) for each, u in zip(logs, shares, strict=True)) < 1e-9


def test_a_value_is_placed_and_found_again() -> None:
    document = {"a": {"b": [{"c": 1}, {"c": 2}]}}
    assert placed(document, "a.b.1.c", 3) == {"a": {"b": [{"c": 1}, {"c": 3}]}}
    assert document["a"]["b"][1] == {"c": 2}, "the document itself stays"
    assert placed({}, "a.b", 1) == {"a": {"b": 1}}
    assert (standing(document, "a.b.0.c"), standing(document, "a.x.y")) == (1, None)
    for path in ("a.b.2.c", "a.b.x", "a.b.0.c.d"):
        with pytest.raises(KeyError):
            placed(document, path, 0)


def test_faults_of_candidates_are_told_at_their_field_each_once(store: Store) -> None:
    fields = grid(optimizer__learning_rate=[0.1, -1], optimiser__kind=["adam"], network__layers__7__units=[3])
    fields["fields"]["network.layers.0.units"] = [3, 4]
    place = "/spec/candidates/fields/"
    assert refused(store, search(folds=3, candidates=fields)) == {(place + "network.layers.7.units", "unknown_field")}
    del fields["fields"]["network.layers.7.units"]
    found = refused(store, search(folds=3, candidates=fields))
    assert found == {(place + "optimizer.learning_rate", "out_of_range"), (place + "optimiser.kind", "unknown_field")}
    del fields["fields"]["optimiser.kind"]
    found = refused(store, search(folds=3, candidates=fields))
    assert found == {
        (place + "optimizer.learning_rate", "out_of_range"), (place + "network.layers.0.units", "output_misfit")
    }  # fmt: skip
    assert store.datasets.list().data == (), "nothing is stored of a search that is refused"


@pytest.mark.parametrize(
    ("dataset", "given", "pointer"),
    [
        ({"sample": "iris"}, {}, "/spec"),
        ({"sample": "iris", "split": {"kind": "ordered"}}, {"folds": 3}, "/spec/train/dataset/split/kind"),
        ({"sample": "iris", "validation": 0.1}, {"folds": 3}, "/spec/train/dataset"),
        ({"rows": [[1, "a"], [2, "b"]]}, {"folds": 3}, "/spec/folds"),
        ({"sample": "python_reference"}, {"folds": 3}, "/spec/folds"),
        ({"sample": "iris"}, {"folds": 100, "candidates": grid(training__seed=[1, 2, 3])}, "/spec/candidates"),
        ({"sample": "iris"}, {"candidates": grid(training__seed=[1])}, "/spec/monitor"),
        ({"sample": "iris"}, {"folds": 2, "monitor": "val_lss"}, "/spec/monitor"),
        ({"sample": "iris"}, {"folds": 2, "monitor": "val_f1"}, "/spec/monitor"),
        ({"sample": "iris"}, {"folds": 2, "monitor": "train_f1"}, "/spec/monitor"),
        ({"sample": "iris"}, {"folds": 2, "candidates": grid(dataset__sample=["digits"])},
         "/spec/candidates/fields/dataset.sample"),
        ({"sample": "iris", "target": "spcies"}, {"folds": 2}, "/spec/train/dataset/target"),
        ({"id": "ds_nobody"}, {"folds": 2}, "/spec/train/dataset/id"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused_at_its_place(
    store: Store, dataset: dict[str, Any], given: dict[str, Any], pointer: str
) -> None:
    assert {place for place, _ in refused(store, search(dataset, **given))} == {pointer}


def test_a_trial_that_is_too_large_is_refused_with_the_search(store: Store) -> None:
    with pytest.raises(TooLarge):
        admitted(store, search(folds=2), limit=1000)


def test_inline_rows_are_stored_once_and_named_by_id(store: Store) -> None:
    rows = [[at, "a" if at % 2 else "b"] for at in range(10)]
    network = {"layers": [{"kind": "dense", "units": 2, "activation": "softmax"}]}
    document = {"type": "search", "spec": {"train": {"dataset": {"rows": rows}, "network": network}, "folds": 2}}
    found = admitted(store, document)
    sources = [found.spec["train"]["dataset"], *(trial.spec["dataset"] for trial in found.trials)]
    assert {(each["id"], each["rows"]) for each in sources} == {(found.dataset_id, None)}


def test_halving_compares_candidates_epoch_by_epoch(store: Store) -> None:
    rates = grid(optimizer__learning_rate=[0.1, 0.01])
    held = {"sample": "iris", "validation": 0.2}
    assert admitted(store, search(held, candidates=rates, halving={})).spec["halving"] == {
        "least_epochs": 1,
        "factor": 3,
    }
    late = admitted(store, search(held, candidates=rates, halving={"least_epochs": 50})).plan.warnings
    assert any("none will end early" in warning for warning in late)
    assert refused(store, search(folds=3, halving={})) == {("/spec/halving", "nothing_to_compare")}
    tested = search({"sample": "iris", "test": 0.2}, candidates=rates, monitor="test_loss", halving={"factor": 2})
    assert refused(store, tested) == {("/spec/monitor", "not_by_epoch")}


def test_a_name_whose_best_end_is_unknown_may_be_misspelt(store: Store) -> None:
    with pytest.raises(InvalidSpec) as caught:
        admitted(store, search(folds=2, monitor="val_accurracy"))
    assert caught.value.faults[0].hint == "Did you mean 'val_accuracy'?"
