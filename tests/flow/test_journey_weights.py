"""Weights in and out over HTTP: a training step can be checked against PyTorch, and gone on from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import tensors
from service.client import ApiError, Client

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "engine.json").read_text("utf-8"))
CASES = ("tanh", "cross_entropy", "squared_error", "sgd-momentum", "adam")
WITHIN = 1e-9


@pytest.fixture
def client(standing: Any) -> Any:
    with Client(standing.url) as client:
        yield client


def _file(path: Path, weights: dict[str, Any]) -> Path:
    tensors.write(path, {name: np.array(value, np.float64) for name, value in weights.items()}, {})
    return path


def _job(case: dict[str, Any], initial: str, epochs: int) -> dict[str, Any]:
    x, y = np.array(case["x"]), np.array(case["y"])
    names = [f"x{i}" for i in range(x.shape[1])]
    targets = ["y"] if y.ndim == 1 else [f"y{i}" for i in range(y.shape[1])]
    columns = zip(x.tolist(), y.reshape(len(y), -1).tolist(), strict=True)
    rows = [dict(zip(names, a, strict=True)) | dict(zip(targets, b, strict=True)) for a, b in columns]
    spec = {
        "dataset": {"rows": rows, "features": names, "target": targets[0] if y.ndim == 1 else targets,
                    "preprocess": "none"},
        "network": {"layers": case["layers"], "initial_weights": initial},
        "loss": case["loss"], "optimizer": case["optimizer"], "dtype": "float64", "metrics": [],
        "training": {"epochs": epochs, "batch_size": case["batch"], "shuffle": False},
    }  # fmt: skip
    return {"type": "train", "spec": spec}


def _trained(client: Client, job: dict[str, Any]) -> str:
    ended = client.wait(client.submit(job)["id"], timeout_s=60)
    assert ended["status"] == "succeeded", ended["error"]
    return str(ended["run_id"])


@pytest.mark.parametrize("name", CASES)
def test_ten_steps_over_http_lead_where_pytorch_gets(client: Client, tmp_path: Path, name: str) -> None:
    """The golden ten steps are two epochs of five batches; the second epoch is the better one in every case."""
    case = GOLDEN[name]
    uploaded = client.upload(_file(tmp_path / "start.safetensors", case["start"]))
    assert (uploaded["kind"], [each["name"] for each in uploaded["columns"]]) == ("weights", list(case["start"]))
    run_id = _trained(client, _job(case, uploaded["id"], epochs=2))
    assert client.series(run_id, ["train_loss"])["train_loss"]["steps"] == [5, 10]
    losses = client.series(run_id, ["train_loss"])["train_loss"]["values"]
    assert losses[1] < losses[0]
    found = tensors.parse(client.export(run_id)).arrays
    assert found.keys() == case["end"].keys()
    for each, wanted in case["end"].items():
        assert found[each].dtype == np.float64
        np.testing.assert_allclose(found[each], wanted, rtol=0, atol=WITHIN)


def test_a_training_goes_on_from_a_run_a_model_and_an_alias(client: Client, tmp_path: Path) -> None:
    """Plain SGD has no memory: one epoch and another from its weights are the two epochs of PyTorch."""
    case = GOLDEN["tanh"]
    uploaded = client.upload(_file(tmp_path / "start.safetensors", case["start"]))
    first = _trained(client, _job(case, uploaded["id"], epochs=1))
    client.publish("half", first)
    client.ask("PUT", "/v1/models/half/aliases/way", json={"version": 1})
    for reference in (first, "half", "half:1", "half@way"):
        last = _trained(client, _job(case, reference, epochs=1))
        found = tensors.parse(client.export(last)).arrays
        for each, wanted in case["end"].items():
            np.testing.assert_allclose(found[each], wanted, rtol=0, atol=WITHIN)


def test_weights_that_do_not_fit_are_refused_before_the_job_is_made(client: Client, tmp_path: Path) -> None:
    case = GOLDEN["tanh"]
    wrong = {name: value for name, value in case["start"].items() if name != "0.bias"} | {"7.bias": [1.0]}
    uploaded = client.upload(_file(tmp_path / "wrong.safetensors", wrong))
    with pytest.raises(ApiError) as caught:
        client.submit(_job(case, uploaded["id"], epochs=1))
    assert caught.value.status == 422
    assert {each["pointer"] for each in caught.value.errors} == {"/spec/network/initial_weights"}
    assert all(word in str(caught.value) for word in ("0.bias is missing", "7.bias is not in the network"))


@pytest.mark.parametrize("reference", ["nobody", "ds_nothing", "run_nothing", "sha256:../../x", "sha256:" + "0" * 64])
def test_weights_that_are_not_there_are_refused(client: Client, reference: str) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit(_job(GOLDEN["tanh"], reference, epochs=1))
    assert (caught.value.status, caught.value.errors[0]["pointer"]) == (422, "/spec/network/initial_weights")


def test_rows_are_no_weights_and_weights_no_rows(client: Client, tmp_path: Path) -> None:
    rows = client.upload_text("a,b\n1,2\n3,4\n", "rows.csv")
    with pytest.raises(ApiError, match="not weights"):
        client.submit(_job(GOLDEN["tanh"], rows["id"], epochs=1))
    weights = client.upload(_file(tmp_path / "w.safetensors", {"a": [1.0, 2.0]}))
    job = _job(GOLDEN["tanh"], weights["id"], epochs=1)
    job["spec"]["dataset"] = {"id": weights["id"]}
    with pytest.raises(ApiError, match="not rows"):
        client.submit(job)


def test_a_damaged_file_of_weights_is_refused(client: Client, tmp_path: Path) -> None:
    whole = _file(tmp_path / "whole.safetensors", {"0.weight": [[1.0, 2.0]]}).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-4])
    with pytest.raises(ApiError) as caught:
        client.upload(tmp_path / "cut.safetensors")
    assert caught.value.status == 422
