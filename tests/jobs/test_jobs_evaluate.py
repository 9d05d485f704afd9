"""Evaluations as jobs: what training itself scored comes out again; cancelled, refused, of texts too."""

from __future__ import annotations

from typing import Any

import pytest
from jobs_machine import Machine, digits

from service.errors import InvalidData, InvalidSpec
from service.specs import admit, parse
from service.storage import Run

TEXT = {"sample": "python_reference", "validation": 0.1, "test": 0.1}


@pytest.fixture(scope="module")
def trained(machine: Machine) -> Run:
    return machine.run(machine.until(machine.submit(digits()), "succeeded"))


def evaluated(machine: Machine, model: str, **spec: Any) -> Run:
    job = machine.submit({"type": "evaluate", "spec": {"model": model} | spec})
    return machine.run(machine.until(job, "succeeded"))


def test_the_part_held_back_scores_as_it_did_at_the_end_of_training(machine: Machine, trained: Run) -> None:
    run = evaluated(machine, trained.id)
    for name in ("test_loss", "test_accuracy"):
        assert run.summary[name]["last"]["value"] == trained.summary[name]["last"]["value"]
    assert run.report["confusion"] == trained.report["confusion"]
    assert run.report["worst_rows"] == trained.report["worst_rows"]
    assert (run.report["rows"], run.report["left_out"]) == (180, 0)
    assert (run.spec["part"], run.spec["run"], run.spec["blob"]) == ("test", trained.id, trained.model_blob)
    assert (run.model_blob, run.dataset_id) == (trained.model_blob, trained.dataset_id)


def test_the_other_parts_are_those_of_the_training_too(machine: Machine, trained: Run) -> None:
    held = evaluated(machine, trained.id, part="validation", metrics=["accuracy", "top_3_accuracy"], worst_rows=3)
    best = trained.summary["val_loss"]["best"]["value"]
    assert held.summary["test_loss"]["last"]["value"] == pytest.approx(best, abs=0.5)
    assert held.summary["test_top_3_accuracy"]["last"]["value"] >= held.summary["test_accuracy"]["last"]["value"]
    assert len(held.report["worst_rows"]["rows"]) == 3
    whole = evaluated(machine, trained.id, dataset={"sample": "digits"})
    assert (whole.report["rows"], whole.spec["part"]) == (1797, "all")
    rows = [evaluated(machine, trained.id, part=part).report["rows"] for part in ("train", "all")]
    assert rows == [1797 - 180 - 180, 1797]


def test_a_model_of_numbers_is_scored_in_their_own_units(machine: Machine) -> None:
    rows = [{"x": x, "y": 3.0 * x + 1} for x in range(40)]
    layers = [{"kind": "dense", "units": 1}]
    spec = {"dataset": {"rows": rows, "test": 0.25}, "network": {"layers": layers}, "metrics": ["rmse"]}
    job = machine.until(machine.submit({"type": "train", "spec": spec | {"training": {"epochs": 2}}}), "succeeded")
    run = evaluated(machine, machine.run(job).id, metrics=["rmse", "r2"])
    rmse = run.summary["test_rmse"]["last"]["value"]
    assert rmse == machine.run(job).summary["test_rmse"]["last"]["value"]
    errors = [(row["truth"] - row["answer"]) ** 2 for row in run.report["worst_rows"]["rows"]]
    assert len(errors) == 10
    assert (sum(errors) / 10) ** 0.5 == pytest.approx(rmse, rel=1e-5)


def test_classes_that_the_model_does_not_know_are_left_out_and_told(machine: Machine, trained: Run) -> None:
    rows = [{"image": [[0] * 8] * 8, "label": label} for label in ("3", "eleven", "4")]
    run = evaluated(machine, trained.id, dataset={"rows": rows})
    assert (run.report["rows"], run.report["left_out"]) == (2, 1)
    assert "1 rows" in run.report["warnings"][0]


def test_answers_that_are_no_numbers_are_the_datas_fault_and_not_ours(machine: Machine) -> None:
    rows = [{"x": x / 10, "y": "ab"[x > 20]} for x in range(40)]
    layers = [{"kind": "dense", "units": 8, "activation": "swiglu"}, {"kind": "dense", "units": 2}]
    spec = {"dataset": {"rows": rows}, "network": {"layers": layers}, "training": {"epochs": 1}}
    run = machine.run(machine.until(machine.submit({"type": "train", "spec": spec}), "succeeded"))
    far = {"rows": [{"x": 3e38, "y": "a"}]}  # a float32 still, but no product of it is
    asked = {"type": "evaluate", "spec": {"model": run.id, "dataset": far}}
    error = machine.until(machine.submit(asked), "failed").error or {}
    assert (error["code"], error["message"]) == (
        "data_unusable", "the model answers with numbers that are not finite"
    )  # fmt: skip


def test_texts_are_told_by_their_perplexity(machine: Machine) -> None:
    spec = {"dataset": TEXT, "order": 3}
    counted = machine.run(machine.until(machine.submit({"type": "ngram", "spec": spec}), "succeeded"))
    run = evaluated(machine, counted.id)
    for name in ("test_perplexity", "test_perplexity_excluding_oov"):
        assert run.summary[name]["last"]["value"] == pytest.approx(counted.summary[name]["last"]["value"], rel=1e-9)
    seen = evaluated(machine, counted.id, part="train")
    assert seen.summary["test_perplexity"]["last"]["value"] < run.summary["test_perplexity"]["last"]["value"]


def test_a_model_by_name_is_pinned_to_the_version_it_means_now(machine: Machine, trained: Run) -> None:
    machine.store.models.add_version("digits", trained.id)
    run = evaluated(machine, "digits")
    assert run.spec["model"] == "digits:1"
    with pytest.raises(Exception, match="evaluation"):
        machine.store.models.resolve(run.id)
    assert [each.id for each in machine.store.runs.evaluations(trained.model_blob or "")][-1] == run.id


@pytest.mark.parametrize(
    ("spec", "pointers"),
    [
        ({"model": "nothing"}, ["/spec/model"]),
        ({"metrics": ["accurcy", "rmse"]}, ["/spec/metrics/0", "/spec/metrics/1"]),
        ({"dataset": {"sample": "iris"}}, ["/spec/dataset/columns/image"]),
        ({"dataset": {"id": "ds_none"}}, ["/spec/dataset/id"]),
        ({"dataset": {"sample": "digits"}, "part": "test"}, ["/spec/part"]),
        ({"dataset": {"rows": [{"image": [[0] * 8] * 8, "lable": 1}]}}, ["/spec/dataset/columns/label"]),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_the_door(
    spec: dict[str, Any], pointers: list[str], machine: Machine, trained: Run
) -> None:
    with pytest.raises((InvalidSpec, InvalidData)) as caught:
        admit(parse({"type": "evaluate", "spec": {"model": trained.id} | spec}), machine.store, 1 << 40)
    assert [fault.pointer for fault in caught.value.faults] == pointers


def test_without_rows_held_back_a_data_set_must_be_named(machine: Machine) -> None:
    job = {"type": "train", "spec": digits(epochs=1)["spec"] | {"dataset": {"sample": "digits"}}}
    run = machine.run(machine.until(machine.submit(job), "succeeded"))
    with pytest.raises(InvalidSpec) as caught:
        admit(parse({"type": "evaluate", "spec": {"model": run.id}}), machine.store, 1 << 40)
    assert caught.value.faults[0].pointer == "/spec/dataset"


def test_shuffling_tells_which_columns_carry_the_answer(machine: Machine) -> None:
    numbers = range(120)
    rows = [
        {"x": x % 17, "noise": x * 7 % 13, "kind": "ab"[x % 2], "y": 3.0 * (x % 17) + 40 * (x % 2)} for x in numbers
    ]
    spec = {
        "dataset": {"rows": rows, "target": "y", "test": 0.3}, "network": {"layers": [{"kind": "dense", "units": 1}]},
        "optimizer": {"kind": "adam", "learning_rate": 0.1}, "training": {"epochs": 40, "batch_size": 12},
    }  # fmt: skip
    job = machine.until(machine.submit({"type": "train", "spec": spec}), "succeeded")
    report = evaluated(machine, machine.run(job).id, importance=5).report["importance"]
    assert [each["feature"] for each in report["features"]] == ["kind", "x", "noise"]
    worth = {each["feature"]: each["rise"] for each in report["features"]}
    assert worth["x"] > 0.1 > 10 * abs(worth["noise"])
    assert (report["metric"], report["rows"], report["part"]) == ("loss", 36, "test")


def test_calibration_of_one_part_tempers_another(machine: Machine, trained: Run) -> None:
    found = evaluated(machine, trained.id, part="validation").report["calibration"]
    held = evaluated(machine, trained.id, temperature=found["temperature"]).report["calibration"]
    assert (held["temperature"], held["part"]) == (found["temperature"], "test")
    assert sum(each["rows"] for each in held["bins"]) == 180
    assert 0 <= found["tempered_error"] < 0.2


@pytest.mark.parametrize("question", [{"importance": 1}, {"temperature": 2.0}])
def test_a_question_that_does_not_fit_the_model_is_refused(machine: Machine, question: dict[str, Any]) -> None:
    text = machine.until(machine.submit({"type": "ngram", "spec": {"dataset": TEXT, "order": 2}}), "succeeded")
    job = parse({"type": "evaluate", "spec": {"model": machine.run(text).id} | question})
    with pytest.raises(InvalidSpec) as caught:
        admit(job, machine.store, machine.settings.max_model_bytes)
    assert [fault.pointer for fault in caught.value.faults] == [f"/spec/{next(iter(question))}"]
