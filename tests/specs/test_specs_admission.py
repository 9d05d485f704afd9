"""The door of the queue: what is filled in, what is refused and where, and that nothing is stored for it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import storage
from service.errors import InvalidSpec, TooLarge
from service.specs import Admitted, admit, parse
from service.storage import Store

LIMIT = 2_000_000_000
SOFTMAX = {"kind": "dense", "units": 3, "activation": "softmax"}
FLAT = {"kind": "flatten"}
LABELS = [{"x": at / 7, "a": at % 2, "b": at // 2 % 2} for at in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{tmp_path / 'netwright.db'}", tmp_path)
    yield opened
    opened.close()


def job(*layers: dict[str, Any], dataset: Any = None, **changes: Any) -> dict[str, Any]:
    spec = {"dataset": dataset or {"sample": "iris"}, "network": {"layers": list(layers or (SOFTMAX,))}}
    return {"type": "train", "spec": spec | changes}


def count(**dataset: Any) -> dict[str, Any]:
    return {"type": "ngram", "spec": {"dataset": {"sample": "python_reference", **dataset}}}


def admitted(document: dict[str, Any], store: Store, limit: int = LIMIT) -> Admitted:
    return admit(parse(document), store, limit)


def test_every_default_is_filled_in(store: Store) -> None:
    found = admitted(job(), store)
    assert found.spec["loss"]["kind"] == "cross_entropy"
    assert found.spec["optimizer"]["kind"] == "adam"
    assert found.spec["dataset"]["target"] == "species"
    assert found.spec["dataset"]["features"] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert found.spec["training"]["epochs"] == 10
    assert found.spec["training"]["log_every"] == 1
    assert found.spec["metrics"] == ["accuracy"]
    assert found.plan.parameters == 4 * 3 + 3
    assert [each["shape_out"] for each in found.plan.layers] == [(3,)]


def test_a_resolved_spec_is_admitted_as_it_is(store: Store) -> None:
    first = admitted(job(), store)
    again = admitted({"type": "train", "spec": first.spec}, store)
    assert again == first


def test_inline_rows_become_a_data_set_that_the_spec_names(store: Store) -> None:
    rows = [{"a": i, "b": -i, "label": "yes" if i % 2 else "no"} for i in range(20)]
    two = {"kind": "dense", "units": 2, "activation": "softmax"}
    first, second = (admitted(job(two, dataset={"rows": rows}), store) for _ in range(2))
    assert first.dataset_id == second.dataset_id
    assert (first.spec["dataset"]["id"], first.spec["dataset"]["rows"]) == (first.dataset_id, None)
    assert len(store.datasets.list().data) == 1


@pytest.mark.parametrize(
    ("layers", "dataset", "loss"),
    [
        ([SOFTMAX], {"sample": "iris"}, "cross_entropy"),
        ([{"kind": "dense", "units": 3}], {"sample": "iris"}, "cross_entropy"),
        ([FLAT, {"kind": "dense", "units": 10}], {"sample": "digits"}, "cross_entropy"),
        ([FLAT, {"kind": "dense", "units": 1}], {"sample": "digits"}, "squared_error"),
        ([{"kind": "dense", "units": 1}], {"sample": "iris", "target": "petal_width"}, "squared_error"),
        (
            [{"kind": "dense", "units": 2}],
            {"sample": "iris", "target": ["petal_width", "petal_length"]},
            "squared_error",
        ),
        ([{"kind": "dense", "units": 1, "activation": "sigmoid"}], {"sample": "xor"}, "binary_cross_entropy"),
        ([{"kind": "dense", "activation": "sigmoid"}], {"rows": LABELS, "target": ["a", "b"]}, "binary_cross_entropy"),
        ([{"kind": "dense"}], {"rows": LABELS, "target": ["a", "b"]}, "squared_error"),
        ([{"kind": "dense", "activation": "sigmoid"}], {"rows": LABELS, "target": ["a", "x"]}, "squared_error"),
        ([{"kind": "dense", "units": 1}, {"kind": "sigmoid"}], {"sample": "xor"}, "binary_cross_entropy"),
    ],
)
def test_the_loss_follows_from_the_end_and_the_target(
    store: Store, layers: list[dict[str, Any]], dataset: dict[str, Any], loss: str
) -> None:
    assert admitted(job(*layers, dataset=dataset), store).spec["loss"]["kind"] == loss


@pytest.mark.parametrize(
    ("end", "dataset", "units"),
    [
        ([{"kind": "dense", "activation": "softmax"}], {"sample": "iris"}, 3),
        ([{"kind": "dense"}], {"sample": "iris"}, 3),
        ([{"kind": "dense"}, {"kind": "dropout", "rate": 0.1}, {"kind": "softmax"}], {"sample": "iris"}, 3),
        ([FLAT, {"kind": "dense", "activation": "softmax"}], {"sample": "digits"}, 10),
        ([{"kind": "dense"}], {"sample": "iris", "target": "petal_width"}, 1),
        ([{"kind": "dense"}], {"sample": "iris", "target": ["petal_width", "petal_length"]}, 2),
        ([{"kind": "dense", "activation": "sigmoid"}], {"sample": "xor"}, 1),
        # a, b, the blank, the end of a line, and what is none of them
        ([{"kind": "gru", "units": 4}, {"kind": "dense"}], {"rows": [{"text": "ab ab"}] * 40, "column": "text"}, 5),
    ],
)
def test_the_last_dense_layer_takes_its_units_from_the_target_and_the_resolved_spec_tells_them(
    store: Store, end: list[dict[str, Any]], dataset: dict[str, Any], units: int
) -> None:
    found = admitted(job(*end, dataset=dataset), store)
    told = [each["units"] for each in found.spec["network"]["layers"] if each["kind"] == "dense"]
    assert told == [units]
    assert found.plan.layers[-1]["shape_out"][-1] == units


@pytest.mark.parametrize(
    ("layers", "place"),
    [
        ([{"kind": "dense"}, SOFTMAX], "/0/units"),
        ([{"kind": "dense"}, {"kind": "flatten"}], "/0/units"),
        ([{"kind": "dense", "activation": "swiglu"}], "/0/units"),
        ([{"kind": "residual", "layers": [{"kind": "dense"}]}, SOFTMAX], "/0/layers/0/units"),
    ],
)
def test_units_missing_anywhere_else_are_asked_for_at_their_place(
    store: Store, layers: list[dict[str, Any]], place: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        admitted(job(*layers), store)
    faults = [(fault.pointer, fault.code) for fault in caught.value.faults]
    assert faults == [("/spec/network/layers" + place, "missing")]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (job({"kind": "dense", "units": 4}), "/spec/network/layers/0/units"),
        (job(SOFTMAX, {"kind": "dense", "units": 4}), "/spec/network/layers/1/units"),
        (job(dataset={"sample": "iris", "target": "specie"}), "/spec/dataset/target"),
        (job(dataset={"sample": "iris", "features": ["sepal_length", "nose"]}), "/spec/dataset/features/1"),
        (job(dataset={"id": "ds_gone"}), "/spec/dataset/id"),
        (job(dataset={"sample": "iris", "validation": {"id": "ds_gone"}}), "/spec/dataset/validation/id"),
        (job(dataset={"sample": "python_reference"}), "/spec/network/layers/0"),
        (job(metrics=["accuracy", "r2"]), "/spec/metrics/1"),
        (job(training={"early_stopping": {"monitor": "val_f1"}}), "/spec/training/early_stopping/monitor"),
        (
            job(training={"early_stopping": {"monitor": "train_f1"}}, metrics=["f1"]),
            "/spec/training/early_stopping/monitor",
        ),
        (job(loss={"kind": "cross_entropy", "class_weights": [0, 0, 0]}), "/spec/loss/class_weights"),
        (job(loss={"kind": "squared_error"}), "/spec/dataset/target"),
        ({"type": "ngram", "spec": {"dataset": {"sample": "iris"}}}, "/spec/dataset"),
        (job(network={"layers": [SOFTMAX], "initial_weights": "nobody"}), "/spec/network/initial_weights"),
        (count(validation={"id": "ds_gone"}), "/spec/dataset/validation/id"),
        (count(validation=0.9, test=0.9), "/spec/dataset"),
    ],
)
def test_a_job_that_cannot_be_is_refused_at_its_place_and_leaves_nothing(
    store: Store, document: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        admitted(document, store)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert store.datasets.list().data == ()
    assert list(store.blobs.every()) == []


def test_whole_numbers_that_may_be_classes_are_told_unless_the_loss_is_said(store: Store) -> None:
    spoken = {"loss": {"kind": "squared_error"}}
    unsaid, said, classes = (
        admitted(job(FLAT, {"kind": "dense"} | end, dataset={"sample": "digits"}, **loss), store).plan.warnings
        for end, loss in (({}, {}), ({}, spoken), ({"activation": "softmax"}, {}))
    )
    assert unsaid == ("'label' is learned as a number; if its 10 different values are classes, end with softmax",)
    assert said == classes == ()


def test_early_stopping_on_a_part_that_is_not_there_is_told(store: Store) -> None:
    stopping = {"early_stopping": {"monitor": "val_f1"}}
    alone, held = (
        admitted(job(training=stopping, metrics=["f1"], dataset={"sample": "iris"} | part), store).plan.warnings
        for part in ({}, {"validation": 0.2})
    )
    assert alone == (
        "there is no validation part: early stopping watches train_loss, not val_f1",
        "there is no validation part and no test part: f1 will not be measured",
    )
    assert held == ()


def test_what_counting_does_not_look_at_is_told(store: Store) -> None:
    def warned(**dataset: Any) -> tuple[str, ...]:
        document = count(**dataset)
        document["spec"] |= {"tune_cache": True, "sentences": "paragraph"}
        return admitted(document, store).plan.warnings

    assert warned(validation=0.1) == ()
    assert warned(target="text") == (
        "an n-gram model only reads a text: dataset.target changes nothing",
        "there is no validation part to tune a cache on: tune_cache changes nothing",
    )


def test_a_network_too_large_is_refused_before_anything_is_allocated(store: Store) -> None:
    admitted(job(), store)
    huge = parse(job({"kind": "dense", "units": 200_000}, {"kind": "dense", "units": 200_000}, SOFTMAX))
    tracemalloc.start()
    began_s = time.process_time()
    with pytest.raises(TooLarge) as caught:
        admit(huge, store, LIMIT)
    took_s = time.process_time() - began_s
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.faults[0].pointer == "/spec/network/layers/1"
    assert peak < 1 << 20
    assert took_s < 0.05


def test_a_job_within_the_limit_says_so_and_one_beyond_does_not(store: Store) -> None:
    found = admitted(job(), store)
    assert found.plan.fits
    assert admitted(job(), store, found.plan.bytes).plan.fits
    with pytest.raises(TooLarge):
        admitted(job(), store, found.plan.bytes // 2)


def test_memory_is_bounded_by_the_plan_unless_the_caller_says(store: Store) -> None:
    found = admitted(job(), store)
    assert found.memory_bytes > 2 * found.plan.bytes
    assert admitted(job(max_memory_bytes=5_000_000), store).memory_bytes == 5_000_000


def test_admission_costs_a_few_milliseconds(store: Store) -> None:
    document = job(FLAT, {"kind": "dense", "units": 64}, {"kind": "dense", "units": 10}, dataset={"sample": "digits"})
    admitted(document, store)
    took_s = []
    for _ in range(20):
        began_s = time.process_time()
        admitted(document, store)
        took_s.append(time.process_time() - began_s)
    assert min(took_s) < 0.005


def test_longer_training_is_estimated_to_take_longer(store: Store) -> None:
    short, long = (admitted(job(training={"epochs": epochs}), store) for epochs in (10, 1000))
    assert 50 * short.plan.estimated_seconds < long.plan.estimated_seconds
