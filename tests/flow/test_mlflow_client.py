"""The unchanged MLflow client against a running server: it searches and reads our runs, and logs into its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from flow_runs import Serve

from service.client import Client

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
IRIS = {
    "type": "train", "name": "iris", "tags": ["team=flowers", "experiment=plants"],
    "spec": {
        "dataset": {"sample": "iris", "validation": 0.2}, "loss": {"kind": "cross_entropy"},
        "network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
        "optimizer": {"kind": "adam", "learning_rate": 0.01}, "metrics": ["accuracy"],
        "training": {"epochs": 5, "batch_size": 16, "seed": 1},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def url(serve: Serve) -> str:
    return str(serve().url)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"), ("MLFLOW_TRACKING_USERNAME", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return pytest.importorskip("mlflow")


def test_a_trained_run_is_found_and_read(mlflow: Any, url: str) -> None:
    with Client(url) as ours:
        run_id = ours.wait(ours.submit(IRIS)["id"], timeout_s=60)["run_id"]
        summary = ours.ask("GET", f"/v1/runs/{run_id}/metrics")["metrics"]
        series = ours.ask("GET", f"/v1/runs/{run_id}/metrics/series?names=val_accuracy")["series"]["val_accuracy"]
    client = mlflow.MlflowClient(tracking_uri=url)
    experiment = client.get_experiment_by_name("plants")
    assert experiment.name in [each.name for each in client.search_experiments()]
    words = "params.optimizer = 'adam' and tags.team = 'flowers' and attributes.status = 'FINISHED'"
    accuracy = summary["val_accuracy"]["last"]
    text = f"metrics.val_accuracy >= {accuracy} and {words}"
    (run,) = client.search_runs([experiment.experiment_id], text, order_by=["metrics.val_accuracy DESC"])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (run_id, "iris", "FINISHED")
    assert run.data.metrics == {name: each["last"] for name, each in summary.items()}
    assert run.data.params["optimizer.learning_rate"] == "0.01"
    history = client.get_metric_history(run_id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == list(zip(series["steps"], series["values"], strict=True))
    assert [point.timestamp for point in history] == series["times"]
    assert client.search_runs([experiment.experiment_id], f"metrics.val_accuracy < {accuracy} and {words}") == []
    with pytest.raises(mlflow.exceptions.MlflowException) as error:
        client.search_runs(["0"], "metrics.x >> 1")
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(mlflow.exceptions.MlflowException) as error:
        client.log_metric(run_id, "late", 1.0)
    assert error.value.error_code == "INVALID_STATE"


def test_a_client_makes_a_run_and_logs_into_it(mlflow: Any, url: str) -> None:
    client = mlflow.MlflowClient(tracking_uri=url)
    experiment_id = client.create_experiment("mine", tags={"a": "b"})
    run = client.create_run(experiment_id, tags={"team": "x"}, run_name="first")
    run_id = run.info.run_id
    client.log_metric(run_id, "loss", 0.5, step=1, timestamp=5)
    client.log_metric(run_id, "loss", math.nan, step=2)
    client.log_metric(run_id, "loss", math.inf, step=3)
    metrics = [mlflow.entities.Metric("acc", place / 1000, 1000 + place, place) for place in range(1000)]
    client.log_batch(run_id, metrics, [mlflow.entities.Param("lr", "0.1")], [mlflow.entities.RunTag("k", "v")])
    client.log_param(run_id, "depth", 3)
    client.set_tag(run_id, "mlflow.note.content", "a note")
    client.delete_tag(run_id, "k")
    client.set_terminated(run_id, "FINISHED")
    found = client.get_run(run_id)
    assert (found.info.status, found.data.params) == ("FINISHED", {"lr": "0.1", "depth": "3"})
    assert found.data.metrics == {"loss": math.inf, "acc": 0.999}
    assert found.data.tags.pop("mlflow.user") == found.info.user_id
    assert found.data.tags == {"team": "x", "mlflow.runName": "first", "mlflow.note.content": "a note"}
    loss = client.get_metric_history(run_id, "loss")
    assert [point.step for point in loss] == [1, 2, 3]
    assert loss[0].timestamp == 5
    assert math.isnan(loss[1].value)
    assert len(client.get_metric_history(run_id, "acc")) == 1000
    client.delete_run(run_id)
    assert client.search_runs([experiment_id]) == []
    client.restore_run(run_id)
    assert [each.info.run_id for each in client.search_runs([experiment_id])] == [run_id]


def test_a_script_that_uses_the_plain_functions_works_as_it_is(mlflow: Any, url: str) -> None:
    mlflow.set_tracking_uri(url)
    try:
        mlflow.set_experiment("script")
        with mlflow.start_run(run_name="plain") as run:
            mlflow.log_params({"lr": 0.1, "layers": [1, 2]})
            for step in range(3):
                mlflow.log_metrics({"loss": 1 / (step + 1), "acc": step / 3}, step=step)
            mlflow.set_tag("stage", "test")
        with mlflow.start_run(run_id=run.info.run_id):
            mlflow.log_metric("test_acc", 0.9)
        (found,) = mlflow.search_runs(experiment_names=["script"], output_format="list")
        assert found.info.status == "FINISHED"
        assert found.data.metrics == {"loss": 1 / 3, "acc": 2 / 3, "test_acc": 0.9}
        assert found.data.params == {"lr": "0.1", "layers": "[1, 2]"}
        assert found.data.tags["stage"] == "test"
    finally:
        mlflow.set_tracking_uri(None)
