"""Models leave one server and arrive at another: the bundle, the single file, ONNX."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import tensors
from service.client import ApiError, Client

Json = dict[str, Any]
DIGITS: Json = {
    "type": "train",
    "spec": {
        "dataset": {"sample": "digits"},
        "network": {"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10}]},
        "training": {"epochs": 2},
    },
}
TEXT: Json = {"type": "ngram", "spec": {"dataset": {"sample": "python_reference"}, "order": 3}}


@pytest.fixture(scope="module")
def client(standing: Any) -> Iterator[Client]:
    with Client(standing.url) as client:
        yield client


@pytest.fixture(scope="module")
def other(serve: Callable[..., Any]) -> Iterator[Client]:
    """A fresh server that has trained nothing."""
    with Client(serve(None, "--workers", "1").url) as client:
        yield client


@pytest.fixture(scope="module")
def run(client: Client) -> Json:
    ended = client.wait(client.submit(DIGITS)["id"], timeout_s=60)
    assert ended["status"] == "succeeded", ended["error"]
    return client.run(ended["run_id"])


@pytest.fixture(scope="module")
def rows(client: Client, run: Json) -> list[Any]:
    return [{"image": row["image"]} for row in client.preview(run["dataset_id"], 30)["rows"]]


def test_a_bundle_predicts_bit_for_bit_on_a_fresh_server(
    client: Client, other: Client, run: Json, rows: list[Any]
) -> None:
    taken = other.take_in(client.export(run["id"], "bundle"), "digits from elsewhere")
    assert (taken["status"], taken["name"]) == ("succeeded", "digits from elsewhere")
    assert (taken["spec"], taken["weights_sha256"]) == (run["spec"], run["weights_sha256"])
    other.publish("digits", taken["id"])
    assert other.predict("digits", rows) == client.predict(run["id"], rows)
    assert other.take_in(other.export(taken["id"], "bundle"))["receipt"] == run["receipt"], "and on to the next"


def test_a_text_model_travels_too(client: Client, other: Client) -> None:
    run_id = client.wait(client.submit(TEXT)["id"], timeout_s=60)["run_id"]
    taken = other.take_in(client.export(run_id, "bundle"))
    asked: Json = {"seed": 4, "max_tokens": 12}
    assert other.complete(taken["id"], "The", **asked) == client.complete(run_id, "The", **asked)
    with pytest.raises(ApiError) as caught:
        client.export(run_id, "python")
    assert caught.value.status == 409


def test_a_bundle_sent_again_under_its_key_is_taken_in_once(client: Client, other: Client, run: Json) -> None:
    bundle = client.export(run["id"], "bundle")
    taken = other.take_in(bundle, idempotency_key="k")
    assert other.take_in(bundle, idempotency_key="k")["id"] == taken["id"] != other.take_in(bundle)["id"]


def test_one_file_predicts_without_this_service(client: Client, run: Json, rows: list[Any], tmp_path: Path) -> None:
    (tmp_path / "model.py").write_bytes(client.export(run["id"], "python"))
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    command = [sys.executable, "-I", "model.py", "rows.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)["predictions"]
    for found, expected in zip(told, client.predict(run["id"], rows), strict=True):
        assert found["label"] == expected["label"]
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)


def test_onnx_comes_with_the_extra_and_is_refused_without(client: Client, run: Json) -> None:
    try:
        import onnx
    except ImportError:
        with pytest.raises(ApiError) as caught:
            client.export(run["id"], "onnx")
        assert (caught.value.status, caught.value.code) == (501, "missing_extra")
    else:
        model = onnx.load_from_string(client.export(run["id"], "onnx"))
        assert [each.name for each in model.graph.output] == ["probabilities", "label"]


def test_an_onnx_model_of_another_program_answers_here(other: Client) -> None:
    """y = 2 x0 - x1 + 0.5, by hand."""
    try:
        from onnx import TensorProto, helper
    except ImportError:
        with pytest.raises(ApiError) as caught:
            other.take_in(b"\x08\x09\x12\x00\x00\x00\x00\x00\x00\x00")
        assert (caught.value.status, caught.value.code) == (501, "missing_extra")
        return
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", wide]) for name, wide in (("x", 2), ("y", 1))]
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [1, 2], [2.0, -1.0])]
    weights.append(helper.make_tensor("b", TensorProto.FLOAT, [1], [0.5]))
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    graph = helper.make_graph([node], "by hand", ends[:1], ends[1:], weights)
    taken = other.take_in(helper.make_model(graph, producer_name="a person").SerializeToString(), "by hand")
    assert (taken["status"], taken["name"]) == ("succeeded", "by hand")
    assert other.predict(taken["id"], [[1.0, 0.5], [0.0, 3.0]]) == [{"value": 2.0}, {"value": -2.5}]
    again = other.take_in(other.export(taken["id"], "bundle"))["id"]
    assert other.predict(again, [[1.0, 0.5]]) == [{"value": 2.0}]
    other.publish("by-hand", taken["id"])
    assert other.ask("GET", "/v1/models/by-hand/card")
    before = len(other.runs())
    graph.node[0].op_type = "Einsum"
    with pytest.raises(ApiError, match="Einsum") as caught:
        other.take_in(helper.make_model(graph).SerializeToString())
    assert (caught.value.status, len(other.runs())) == (422, before)


@pytest.mark.parametrize("harm", ["cut", "flipped", "no bundle", "hollow"])
def test_a_damaged_bundle_is_refused_and_nothing_is_kept(
    client: Client, other: Client, run: Json, tmp_path: Path, harm: str
) -> None:
    whole = client.export(run["id"], "bundle")
    (tmp_path / "bundle").write_bytes(whole)
    found = tensors.read(tmp_path / "bundle")
    match harm:
        case "cut":
            sent = whole[:-100]
        case "flipped":
            sent = whole[:9] + bytes([whole[9] ^ 255]) + whole[10:]
        case "no bundle":
            sent = client.export(run["id"], "safetensors")
        case _:
            sent = b"".join(tensors.pieces({"1.bias": found.arrays["1.bias"]}, found.metadata))
    before = len(other.runs())
    with pytest.raises(ApiError) as caught:
        other.take_in(sent)
    assert caught.value.status == 422
    assert len(other.runs()) == before
