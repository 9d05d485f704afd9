"""Traces of unequal length go in as JSON lines, a recurrent network learns their order, and answers for any length."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import wave
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import ApiError, Client

NETWORK = {"layers": [{"kind": "lstm", "units": 8, "output": "last"}, {"kind": "dense", "activation": "softmax"}]}


def traces(rows: int, seed: int, shortest: int = 3, longest: int = 60) -> list[dict[str, Any]]:
    """A bump up and a bump down somewhere in noise, beside a channel that says nothing: which of them comes first."""
    random, found = np.random.default_rng(seed), []
    for _ in range(rows):
        length, up = int(random.integers(shortest, longest + 1)), bool(random.integers(2))
        trace = random.normal((0, 500), (0.2, 20), (length, 2))
        trace[np.sort(random.choice(length, 2, replace=False)), 0] = (3, -3) if up else (-3, 3)
        found.append({"trace": trace.round(3).tolist(), "first": "up" if up else "down"})
    return found


def job(dataset: dict[str, Any], network: dict[str, Any] = NETWORK) -> dict[str, Any]:
    return {
        "type": "train",
        "spec": {
            "dataset": dataset | {"target": "first"}, "network": network,
            "optimizer": {"kind": "adam", "learning_rate": 0.02}, "training": {"epochs": 12, "batch_size": 16},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def data(standing: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    file.write_text("\n".join(map(json.dumps, traces(400, 1))))
    with Client(standing.url) as client:
        return client.upload(file)


@pytest.fixture(scope="module")
def run(standing: Any, data: Any) -> str:
    with Client(standing.url) as client:
        done = client.wait(client.submit(job({"id": data["id"], "validation": 0.2, "test": 0.1}))["id"], timeout_s=60)
        assert done["status"] == "succeeded", done["error"]
        return str(done["run_id"])


def test_what_was_understood_is_told(data: Any) -> None:
    column = data["columns"][0]
    assert (column["type"], column["shape"], column["lengths"]["features"]) == ("sequence", [60, 2], 2)
    assert (column["lengths"]["shortest"], column["lengths"]["longest"]) == (3, 60)


def test_the_order_is_learned_and_told_of_traces_longer_than_any_before(standing: Any, run: str) -> None:
    asked = [*traces(100, 2), *traces(40, 3, 61, 150)]
    with Client(standing.url) as client:
        series = client.series(run)
        assert series["val_accuracy"]["values"][-1] > 0.95
        assert series["test_accuracy"]["values"][-1] > 0.95
        answers = client.predict(run, [{"trace": each["trace"]} for each in asked])
        right = [answer["label"] == each["first"] for answer, each in zip(answers, asked, strict=True)]
        assert np.mean(right[:100]) > 0.95
        assert np.mean(right[100:]) > 0.95
        for at in (0, 7, 120):
            (alone,) = client.predict(run, [asked[at]["trace"]])
            assert alone["probability"] == pytest.approx(answers[at]["probability"], abs=1e-6)


def test_tensors_file_and_evaluation_say_the_same(standing: Any, run: str, tmp_path: Path) -> None:
    asked = traces(12, 4, 40, 90)
    with Client(standing.url) as client, httpx.Client(base_url=standing.url, timeout=30) as http:
        answers = client.predict(run, [{"trace": each["trace"]} for each in asked])
        trace = asked[0]["trace"]
        tensor = {"name": "trace", "datatype": "FP64", "shape": [1, len(trace), 2], "data": trace}
        told = http.post(f"/v2/models/{run}/infer", json={"inputs": [tensor]}).json()["outputs"]
        assert told[0]["data"] == pytest.approx(
            [answers[0]["probabilities"][name] for name in ("down", "up")], abs=1e-6
        )
        (tmp_path / "model.py").write_bytes(http.get(f"/v1/runs/{run}/export?format=python").content)
        done = client.wait(
            client.submit({"type": "evaluate", "spec": {"model": run, "dataset": {"rows": asked}}})["id"], timeout_s=60
        )
        right = np.mean([answer["label"] == each["first"] for answer, each in zip(answers, asked, strict=True)])
        assert client.series(done["run_id"])["test_accuracy"]["values"][-1] == pytest.approx(right)
    command = [sys.executable, str(tmp_path / "model.py")]
    rows = json.dumps([each["trace"] for each in asked])
    alone = subprocess.run(command, input=rows, capture_output=True, text=True, timeout=60, check=True)
    for one, answer in zip(json.loads(alone.stdout)["predictions"], answers, strict=True):
        assert one["probability"] == pytest.approx(answer["probability"], abs=1e-6)


def test_a_layer_that_cannot_is_refused_at_the_door(standing: Any, data: Any) -> None:
    layers = [{"kind": "flatten"}, {"kind": "dense", "activation": "softmax"}]
    with Client(standing.url) as client, pytest.raises(ApiError) as caught:
        client.submit(job({"id": data["id"]}, {"layers": layers}))
    assert [error["pointer"] for error in caught.value.errors] == ["/spec/network/layers/0"]


def hum(pitch: float, length: int) -> bytes:
    """A WAV file of one tone."""
    samples, file = 20_000 * np.sin(np.arange(length) * pitch), io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def test_sounds_of_any_length_are_told_apart_and_asked_about_as_files(standing: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    with zipfile.ZipFile(tmp_path / "hums.zip", "w") as archive:
        for at in range(60):
            name, pitch = ("low", 0.2) if at % 2 else ("high", 1.2)
            archive.writestr(f"{name}/{at}.wav", hum(pitch * random.uniform(0.9, 1.1), int(random.integers(60, 200))))
    convolution = {"kind": "conv1d", "filters": 8, "kernel_size": 9, "padding": "same", "activation": "relu"}
    network = {"layers": [convolution, {"kind": "global_max_pool"}, {"kind": "dense", "activation": "softmax"}]}
    with Client(standing.url) as client:
        hums = client.upload(tmp_path / "hums.zip")
        assert (hums["kind"], hums["columns"][0]["samples_per_s"]) == ("sequence", 8000)
        spec = {"dataset": {"id": hums["id"]}, "network": network, "optimizer": {"kind": "adam", "learning_rate": 0.02},
                "training": {"epochs": 20, "batch_size": 10}}  # fmt: skip
        run = client.wait(client.submit({"type": "train", "spec": spec})["id"])["run_id"]
        for name, pitch in (("low", 0.2), ("high", 1.2)):
            sound, path = hum(pitch, 333), f"/v1/models/{run}/predict"
            answer = client.ask("POST", path, content=sound, headers={"content-type": "audio/wav"})
            assert answer["predictions"][0]["label"] == name
            assert client.predict(run, [{"sound": base64.b64encode(sound).decode()}]) == answer["predictions"]
