"""A user's way from a file to answers, over HTTP, with a real server process and its workers."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path
from typing import Any

import pytest

from service.client import ApiError, Client


@pytest.fixture
def client(standing: Any) -> Any:
    with Client(standing.url) as client:
        yield client


def _points(path: Path, count: int = 600) -> Path:
    """A table with words and numbers: inside the circle or not, and a colour that does not matter."""
    dice = random.Random(3)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("x", "y", "colour", "place"))
        for _ in range(count):
            x, y = dice.uniform(-1, 1), dice.uniform(-1, 1)
            writer.writerow(
                (f"{x:.3f}", f"{y:.3f}", dice.choice(("red", "blue")), "in" if x * x + y * y < 0.5 else "out")
            )
    return path


def _job(dataset_id: str, epochs: int = 40, **training: Any) -> dict[str, Any]:
    layers = [
        {"kind": "dense", "units": 32, "activation": "relu"},
        {"kind": "dense", "units": 2, "activation": "softmax"},
    ]
    spec = {
        "dataset": {"id": dataset_id, "target": "place", "validation": 0.2, "split_seed": 7},
        "network": {"layers": layers},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "training": {"epochs": epochs, "batch_size": 16, "seed": 1} | training,
        "metrics": ["accuracy"],
    }
    return {"type": "train", "name": "circle", "tags": ["journey"], "spec": spec}


def test_from_a_table_to_named_answers(client: Client, tmp_path: Path) -> None:
    dataset = client.upload(_points(tmp_path / "points.csv"), name="points")
    assert (dataset["kind"], dataset["rows"]) == ("table", 600)
    job = client.submit(_job(dataset["id"]))
    events = list(client.follow(job["id"]))
    kinds = [event["kind"] for event in events if event.get("id")]
    assert kinds[:2] == ["queued", "started"]
    assert kinds[-1] == "finished"
    assert "epoch" in kinds
    ids = [event["id"] for event in events if event.get("id")]
    assert ids == sorted(set(ids))
    done = client.job(job["id"])
    assert (done["status"], done["progress"], done["stopped_by"], done["attempt"]) == ("succeeded", 1.0, "epochs", 1)
    metrics = client.metrics(done["run_id"])
    assert metrics["val_accuracy"]["best"] > 0.9
    series = client.series(done["run_id"], ["train_loss"])["train_loss"]
    assert len(series["values"]) == 40
    assert series["values"][-1] < series["values"][0]
    (first, *_) = client.runs(tag="journey", sort="-best.val_accuracy")
    assert first["id"] == done["run_id"]
    rows = [{"x": 0.0, "y": 0.1, "colour": "red"}, {"x": 0.95, "y": -0.9, "colour": "blue"}]
    assert [each["label"] for each in client.predict(done["run_id"], rows)] == ["in", "out"]
    assert client.publish("circle", done["run_id"])["version"] == 1
    assert client.predict("circle", rows, top_k=1)[0]["probabilities"].keys() == {"in"}
    confusion = client.confusion(done["run_id"])
    assert confusion["classes"] == ["in", "out"]
    assert sum(map(sum, confusion["counts"])) == 120


def test_from_several_labels_to_those_that_hold(client: Client) -> None:
    points = [(x / 10, y / 10) for x in range(-9, 10, 3) for y in range(-9, 10, 3)]
    rows = [{"x": x, "y": y, "right": int(x > 0), "above": int(y > 0)} for x, y in points]
    spec = {
        "dataset": {"rows": rows, "target": ["right", "above"], "test": 0.2},
        "network": {"layers": [{"kind": "dense", "activation": "sigmoid"}]},
        "optimizer": {"kind": "adam", "learning_rate": 0.1},
        "training": {"epochs": 60, "batch_size": 8}, "metrics": ["accuracy", "f1", "auc"],
    }  # fmt: skip
    run = client.wait(client.submit({"type": "train", "spec": spec})["id"])["run_id"]
    assert client.metrics(run)["test_auc"]["last"] > 0.9
    both, none = client.predict(run, [[0.8, 0.7], {"x": -0.8, "y": -0.7}])
    assert (sorted(both["labels"]), none["labels"]) == (["above", "right"], [])
    assert set(none["probabilities"]) == {"above", "right"}
    table: dict[str, Any] = {"content": "x,y\n0.8,-0.9\n", "headers": {"content-type": "text/csv"}}
    answer = client._http.post(f"/v1/models/{run}/predict", **table).text.splitlines()
    assert answer[0] == "row,labels,probability_right,probability_above"
    assert answer[1].startswith("0,right,0.9")
    told = client.ask("GET", f"/v2/models/{run}")["outputs"]
    assert told == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}]
    assert client.ask("GET", f"/v1/models/{run}/card")["predicts"] == "yes or no for each of 2 labels"


def test_a_cancelled_job_keeps_a_usable_model_and_predictions_go_on_meanwhile(client: Client, tmp_path: Path) -> None:
    dataset = client.upload(_points(tmp_path / "points.csv"))
    job = client.submit(_job(dataset["id"], epochs=100_000))
    for event in client.follow(job["id"]):
        if event["kind"] == "epoch" and event["data"]["epoch"] >= 3:
            break
    run_id = client.job(job["id"])["run_id"]
    row = {"x": 0.0, "y": 0.0, "colour": "red"}
    assert _answer(client, f"{run_id}@latest", row) in ("in", "out")
    assert client.job(job["id"])["status"] == "running"
    client.cancel(job["id"])
    done = client.wait(job["id"], timeout_s=20)
    assert (done["status"], done["error"]) == ("cancelled", None)
    assert client.cancel(job["id"])["status"] == "cancelled"
    assert client.predict(run_id, [row])[0]["label"] in ("in", "out")


def _answer(client: Client, model: str, row: dict[str, Any]) -> str:
    """The label, as soon as the run has published weights."""
    until = time.monotonic() + 20
    while True:
        try:
            return str(client.predict(model, [row])[0]["label"])
        except ApiError as error:
            if error.code != "conflict" or time.monotonic() > until:
                raise
        time.sleep(0.02)


def test_a_run_that_diverges_says_why_and_what_to_do(client: Client, tmp_path: Path) -> None:
    dataset = client.upload(_points(tmp_path / "points.csv"))
    job = _job(dataset["id"])
    job["spec"]["optimizer"] = {"kind": "sgd", "learning_rate": 1e6, "momentum": 0.9}
    del job["spec"]["network"]["layers"][0]["activation"]
    done = client.wait(client.submit(job)["id"], timeout_s=30)
    assert done["status"] == "failed"
    assert done["error"]["code"] == "diverged"
    assert done["error"]["hint"]


def test_a_refusal_is_one_exception_that_names_every_fault(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit({"type": "train", "spec": {"dataset": {"sample": "irsi"}, "network": {"layer": []}}})
    assert caught.value.status == 422
    assert {"/spec/network/layer", "/spec/network/layers"} <= {each["pointer"] for each in caught.value.errors}
    assert "layers" in str(caught.value)
    with pytest.raises(ApiError, match="Did you mean 'number'"):
        client.upload(_points(tmp_path / "points.csv"), types={"x": "numbr"})
    with pytest.raises(ApiError, match="expected width x height, got 'small'"):
        client.upload(_points(tmp_path / "points.csv"), resize="small")
    with pytest.raises(ApiError, match="its run_id names the run"):
        client.run("job_of_mine")


def test_a_search_trains_each_fold_as_a_job_of_its_own_would(client: Client) -> None:
    train = _job("", epochs=3)["spec"]
    train["dataset"] = {"sample": "iris", "split": {"kind": "stratified"}, "split_seed": 7}
    train["network"]["layers"][-1]["units"] = 3
    search = client.wait(client.submit({"type": "search", "spec": {"train": train, "folds": 3}})["id"], timeout_s=120)
    assert (search["status"], len(search["run_ids"])) == ("succeeded", 3)
    fold = {"kind": "fold", "folds": 3, "fold": 1, "stratified": True}
    alone = {"type": "train", "spec": train | {"dataset": train["dataset"] | {"split": fold}}}
    job = client.wait(client.submit(alone)["id"], timeout_s=120)
    run, trial = client.run(job["run_id"]), client.run(search["run_ids"][1])
    assert run["weights_sha256"] == trial["weights_sha256"]
    spread = client.trials(search["id"])["candidates"][0]["metrics"]["val_accuracy"]
    assert spread["n"] == 3
    assert 0 <= spread["min"] <= spread["mean"] <= spread["max"] <= 1
    assert client.runs(job=search["id"], sort="-best.val_accuracy")[0]["best"]["val_accuracy"]["value"] >= spread["max"]
