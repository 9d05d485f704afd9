"""The Open Inference Protocol: what its page says, byte by byte, and what is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_server import Api, serving, train_spec
from test_api_models import counted, trained

pytestmark = pytest.mark.anyio
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]]
CLASSES = ["setosa", "versicolor", "virginica"]


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "rows", "datatype": "FP32", "shape": [2, 4], "data": ROWS} | changes


async def infer(api: Api, ref: str, *inputs: dict[str, Any], **more: Any) -> httpx.Response:
    return await api.http.post(f"/v2/models/{ref}/infer", json={"inputs": list(inputs), **more})


def refused(answer: httpx.Response, status: int = 422) -> str:
    """The words of a refusal, in the form that the protocol's clients read."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, str] = answer.json()
    assert list(document) == ["error"]
    return document["error"]


async def test_the_server_and_its_models_introduce_themselves(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert (await api.http.get("/v2/health/live")).json() == {"live": True}
        assert (await api.http.get("/v2/health/ready")).json() == {"ready": True}
        assert (await api.http.get("/v2")).json()["name"] == "netwright"
        assert (await api.http.post("/v2/repository/index")).json() == []
        run = await trained(api)
        for _ in range(2):
            await api.http.post("/v1/models/flowers/versions", json={"run": run})
        index = (await api.http.post("/v2/repository/index", json={"ready": True})).json()
        assert index == [{"name": "flowers", "version": "2", "state": "READY", "reason": ""}]
        for path, versions in (("flowers", ["1", "2"]), ("flowers/versions/1", ["1", "2"]), (run, [])):
            told = (await api.http.get(f"/v2/models/{path}")).json()
            assert told["versions"] == versions
            assert told["inputs"] == [{"name": "rows", "datatype": "FP32", "shape": [-1, 4]}]
            assert [(each["name"], each["datatype"], each["shape"]) for each in told["outputs"]] == [
                ("probabilities", "FP32", [-1, 3]), ("label", "BYTES", [-1, 1]),
            ]  # fmt: skip
            assert (await api.http.get(f"/v2/models/{path}/ready")).json()["ready"] is True
        for path in ("nothing", "flowers/versions/3", "flowers/versions/x", "nothing/ready", "flowers@live"):
            assert refused(await api.http.get(f"/v2/models/{path}"), 404)
        refused(await api.http.get("/v2/nowhere"), 404)
        refused(await api.http.get("/v2/models/flowers/infer"), 405)
        api.app.state.leave()
        refused(await api.http.get("/v2/health/ready"), 503)


async def test_tensors_in_json_are_answered_as_rows_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        told = (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": np.array(ROWS, "<f4").tolist()})).json()
        expected = [[each["probabilities"][name] for name in CLASSES] for each in told["predictions"]]
        flat = [value for row in ROWS for value in row]
        for given in (tensor(), tensor(data=flat), tensor(name="input-0"), tensor(shape=[2, 2, 2])):
            answer = await infer(api, ref, given, id="mine", parameters={"anything": 1})
            assert answer.status_code == 200, answer.text
            document = answer.json()
            assert (document["model_name"], document["model_version"], document["id"]) == (ref, "", "mine")
            p, label = document["outputs"]
            assert (p["name"], p["datatype"], p["shape"]) == ("probabilities", "FP32", [2, 3])
            assert np.reshape(p["data"], (2, 3)).tolist() == expected
            assert (label["shape"], label["data"]) == ([2, 1], [each["label"] for each in told["predictions"]])
        only = (await infer(api, ref, tensor(), outputs=[{"name": "label"}])).json()
        assert [each["name"] for each in only["outputs"]] == ["label"]
        best = [{"name": "probabilities", "parameters": {"classification": 2}}]
        (classes,) = (await infer(api, ref, tensor(), outputs=best)).json()["outputs"]
        assert (classes["datatype"], classes["shape"]) == ("BYTES", [2, 2])
        value, at, name = classes["data"][0].split(":")
        assert (int(at), name) == (0, "setosa")
        assert float(value) == pytest.approx(max(expected[0]), abs=1e-6)


async def test_columns_with_words_come_as_tensors_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        rows = [{"color": "rgb"[i % 3], "size": i / 2 if i % 4 else None, "y": float(i % 3)} for i in range(24)]
        linear = {"layers": [{"kind": "dense", "units": 1}]}
        ref = await trained(
            api, dataset={"rows": rows, "target": "y"}, network=linear, loss={"kind": "squared_error"}
        )  # fmt: skip
        told = (await api.http.get(f"/v2/models/{ref}")).json()
        assert [(each["name"], each["datatype"], each["shape"]) for each in told["inputs"] + told["outputs"]] == [
            ("color", "BYTES", [-1, 1]), ("size", "FP32", [-1, 1]), ("values", "FP32", [-1, 1]),
        ]  # fmt: skip
        same = [{"color": "g", "size": 2.5}, {"color": "x", "size": None}]
        plain = (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": same})).json()["predictions"]
        size = np.array([2.5, np.nan], "<f8").tobytes()
        color = b"\x01\0\0\0g\x01\0\0\0x"
        document = {
            "inputs": [
                {"name": "color", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(color)}},
                {"name": "size", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": len(size)}},
            ]
        }
        (values,) = (await binary(api, ref, document, color + size)).json()["outputs"]
        assert values["data"] == pytest.approx([each["value"] for each in plain], rel=1e-6)
        column = {"name": "color", "datatype": "BYTES", "shape": [1], "data": ["g"]}
        assert "/rows" not in refused(await infer(api, ref, column))
        assert "size" in refused(await infer(api, ref, column))
        assert "not expected" in refused(await infer(api, ref, column, column))
        assert "not expected" in refused(await infer(api, ref, column, column | {"name": "x"}))
        assert "as many rows" in refused(await infer(api, ref, column, {**column, "shape": [2], "data": ["g", "g"]}))


async def binary(api: Api, ref: str, document: Any, data: bytes, **headers: str) -> httpx.Response:
    text = json.dumps(document).encode()
    told = {"Inference-Header-Content-Length": str(len(text)), "Content-Type": "application/octet-stream"} | headers
    return await api.http.post(f"/v2/models/{ref}/infer", content=text + data, headers=told)


async def test_bytes_go_both_ways_also_compressed(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        (plain, labels) = (await infer(api, ref, tensor())).json()["outputs"]
        data = np.array(ROWS, "<f4").tobytes()
        sent = {"name": "rows", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": len(data)}}
        answer = await binary(api, ref, {"inputs": [sent], "parameters": {"binary_data_output": True}}, data)
        length = int(answer.headers["inference-header-content-length"])
        head, rest = json.loads(answer.content[:length]), answer.content[length:]
        p, label = head["outputs"]
        assert (p["parameters"], label["parameters"]) == (
            {"binary_data_size": 24},
            {"binary_data_size": len(rest) - 24},
        )
        assert np.frombuffer(rest[:24], "<f4").tolist() == plain["data"]
        words = b"".join(len(w).to_bytes(4, "little") + w.encode() for w in labels["data"])
        assert rest[24:] == words
        mixed = [{"name": "label"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
        answer = await binary(api, ref, {"inputs": [sent], "outputs": mixed}, data)
        head = json.loads(answer.content[: int(answer.headers["inference-header-content-length"])])
        assert head["outputs"][0]["data"] == labels["data"]
        assert answer.content.endswith(rest[:24])
        whole = json.dumps({"inputs": [sent]}).encode()
        told = {"Inference-Header-Content-Length": str(len(whole)), "Content-Type": "application/octet-stream"}
        for encoding, packed in (("gzip", gzip.compress(whole + data)), ("deflate", zlib.compress(whole + data))):
            headers = told | {"Content-Encoding": encoding}
            found = await api.http.post(f"/v2/models/{ref}/infer", content=packed, headers=headers)
            assert found.json()["outputs"] == [plain, labels]
            cut = await api.http.post(f"/v2/models/{ref}/infer", content=packed[:-9], headers=headers)
            refused(cut, 400)
        bomb = gzip.compress(bytes(20_000_000))
        headers = told | {"Content-Encoding": "gzip"}
        refused(await api.http.post(f"/v2/models/{ref}/infer", content=bomb, headers=headers), 413)
        headers |= {"Content-Encoding": "br"}
        assert "gzip" in refused(await api.http.post(f"/v2/models/{ref}/infer", content=bomb, headers=headers), 415)


async def test_what_does_not_fit_is_told_in_the_protocols_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        wide = refused(await infer(api, ref, tensor(shape=[2, 3], data=[1.0] * 6)))
        assert "expected rows of shape [-1, 4], got [2, 3]" in wide
        odd: list[dict[str, Any]] = [
            tensor(shape=[3, 4]), tensor(shape=[]), tensor(shape=[0, 4], data=[]), tensor(shape=[-1, 4]),
            tensor(shape=4),
            tensor(shape=[1 << 62, 4]), tensor(datatype="FP31"), tensor(datatype="BYTES"),
            tensor(data=[[1, "2", 3, 4]] * 2),
            tensor(data=[[True] * 4] * 2), tensor(data=[[1, 2, 3], [4]]), tensor(data=None), tensor(data={"a": 1}),
            tensor(datatype="UINT8", data=[[300] * 4] * 2), tensor(data=[[1e39] * 4] * 2), tensor(name=3), {},
            tensor(parameters={"binary_data_size": 1}), tensor(parameters={"binary_data_size": -1}),
            {"name": "rows", "datatype": "BYTES", "shape": [2, 4], "data": ["a"] * 8},
        ]  # fmt: skip
        for each in odd:
            assert refused(await infer(api, ref, each)), each
        refused(await infer(api, ref))
        refused(await infer(api, ref, tensor(), outputs=[{"name": "other"}]))
        for count in (0, "2", True):
            wanted = [{"name": "probabilities", "parameters": {"classification": count}}]
            refused(await infer(api, ref, tensor(), outputs=wanted))
        refused(await infer(api, "nothing", tensor()), 404)
        refused(
            await api.http.post(f"/v2/models/{ref}/infer", content=b"{", headers={"Content-Type": "application/json"}),
            400,
        )
        refused(
            await api.http.post(f"/v2/models/{ref}/infer", content=b"", headers={"Content-Type": "application/json"}),
            400,
        )
        refused(
            await api.http.post(f"/v2/models/{ref}/infer", content=b"{}", headers={"Content-Type": "text/plain"}), 415
        )
        sent = {"name": "rows", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
        nan = np.array([1, 2, 3, np.nan], "<f4").tobytes()
        assert "out of range" in refused(await binary(api, ref, {"inputs": [sent]}, nan))
        refused(await binary(api, ref, {"inputs": [sent]}, bytes(15)))
        assert "nobody's" in refused(await binary(api, ref, {"inputs": [sent]}, bytes(17)))
        for length in ("0", "-1", "x", "9" * 30, "100000"):
            refused(
                await binary(api, ref, {"inputs": [sent]}, bytes(16), **{"Inference-Header-Content-Length": length}),
                400,
            )
        word = {"name": "rows", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
        for data in (b"\x02\0\0\0a", b"\x01\0\0\0\xff", b"\xff\xff\xff\xffa"):
            refused(await binary(api, ref, {"inputs": [word]}, data))
        assert "text model" in refused(await infer(api, await counted(api), tensor()))


async def test_pictures_and_vectors_are_one_tensor_of_their_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        layers = [{"kind": "flatten"}, {"kind": "dense", "units": 10, "activation": "softmax"}]
        spec = train_spec(dataset={"sample": "digits", "target": "label"}, network={"layers": layers})
        ref = await trained(api, dataset=spec["dataset"], network=spec["network"])
        told = (await api.http.get(f"/v2/models/{ref}")).json()
        assert told["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}]
        image = (np.arange(64) % 17).reshape(1, 8, 8)
        plain = (await api.http.post(f"/v1/models/{ref}/predict", json={"rows": image.tolist()})).json()["predictions"]
        for shape in ([1, 8, 8], [1, 64], [1, 8, 8, 1]):
            given = {"name": "image", "datatype": "UINT8", "shape": shape, "data": image.ravel().tolist()}
            label = (await infer(api, ref, given)).json()["outputs"][1]
            assert label["data"] == [plain[0]["label"]]
