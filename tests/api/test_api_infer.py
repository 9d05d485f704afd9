"""Inference requests on the hot path are answered as on the documented route, alone or beside others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_server import Api, serving
from test_api_direct import listening
from test_api_hot import RAW, TOLERANCE
from test_api_models import counted, trained

from service.engine import Network

pytestmark = pytest.mark.anyio
LENGTH = "inference-header-content-length"
ROUTE = "?documented"  # a query is unusual enough
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]]
FLAT = [value for row in ROWS for value in row]
Sent = tuple[bytes, dict[str, str]]


def listed(input_: dict[str, Any] | None = None, **more: Any) -> Sent:
    """Two rows in JSON, changed."""
    tensor = {"name": "rows", "datatype": "FP32", "shape": [2, 4], "data": FLAT} | (input_ or {})
    kept = {name: value for name, value in tensor.items() if value is not None}
    return json.dumps({"inputs": [kept]} | more).encode(), {"Content-Type": "application/json"}


def packed(data: bytes, size: Any = None, datatype: str = "FP32", shape: Any = (2, 4), **more: Any) -> Sent:
    """Two rows behind JSON."""
    parameters = {"binary_data_size": len(data)} if size is None else size
    tensor = {"name": "rows", "datatype": datatype, "shape": list(shape), "parameters": parameters}
    head = json.dumps({"inputs": [tensor]} | more).encode()
    return head + data, {"Content-Type": RAW, LENGTH: str(len(head))}


FLOATS = np.array(ROWS, "<f4").tobytes()
BOTH: dict[str, Any] = {"parameters": {"binary_data_output": True}}
REQUESTS: list[Sent] = [
    listed(), listed({"data": ROWS}), listed({"shape": [2, 2, 2]}), listed({"name": "x"}), listed(id="mine"),
    listed(id=""), listed(id=None), listed(id=7), listed(model_name=5), listed(timeout=1), listed(parameters={"a": 1}),
    listed({"shape": [2, 3]}), listed({"shape": [8]}), listed({"shape": [4, 2]}), listed({"shape": [0, 4]}),
    listed({"shape": [2, True]}), listed({"shape": [2.0, 4]}), listed({"shape": [1 << 50, 4]}), listed({"shape": []}),
    listed({"data": FLAT[:-1]}), listed({"data": []}), listed({"data": [ROWS[0], ROWS[1][:3]]}), listed({"data": 5}),
    listed({"data": [*FLAT[:-1], True]}), listed({"data": [*FLAT[:-1], None]}), listed({"data": [*FLAT[:-1], "1"]}),
    listed({"data": [*FLAT[:-1], 1e300]}), listed({"data": [*FLAT[:-1], 10**40]}), listed({"data": None}),
    listed({"data": [1, 2, 3, 4, 5, 6, 7, 8]}), listed({"datatype": "INT32", "data": [1, 2, 3, 4, 5, 6, 7, 8]}),
    listed({"datatype": "FP64"}), listed({"datatype": "BYTES"}), listed({"datatype": "FP31"}), listed({"name": 3}),
    listed({"name": "sepal_length"}), listed({"name": "n" * 1_001}), listed(BOTH), listed({"extra": 1}),
    listed(outputs=[{"name": "label"}]), listed(outputs=[{"name": "label"}, {"name": "label"}]), listed(outputs=[]),
    listed(outputs=[{"name": "nothing"}]), listed(outputs=[{"name": 5}]), listed(outputs=5), listed(inputs=[]),
    listed(outputs=[{"name": "probabilities", "parameters": {"classification": 2}}]), listed(**BOTH),
    listed(outputs=[{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}], **BOTH),
    listed(outputs=[{"name": "label", "parameters": {"binary_data": 1}}]), listed(parameters=5),
    packed(FLOATS), packed(FLOATS, **BOTH), packed(FLOATS, id="mine", **BOTH), packed(FLOATS[:-1]), packed(b""),
    packed(FLOATS, {"binary_data_size": 31}), packed(FLOATS, {"binary_data_size": 33}), packed(FLOATS, {}),
    packed(FLOATS, {"binary_data_size": True}), packed(FLOATS, {"binary_data_size": -1}), packed(FLOATS * 2),
    packed(FLOATS * 2, shape=(4, 4)), packed(bytes(range(8)), datatype="UINT8"), packed(FLOATS, datatype="INT32"),
    packed(np.array(ROWS, "<f8").tobytes(), datatype="FP64"), packed(np.full(8, np.nan, "<f4").tobytes()),
    packed(np.full(8, np.inf, "<f4").tobytes()), packed(FLOATS, shape=(1, 8)), packed(FLOATS, shape=(8,)),
    (FLOATS, {"Content-Type": RAW, LENGTH: "7"}), (FLOATS, {"Content-Type": RAW, LENGTH: "x"}),
    (packed(FLOATS)[0], {LENGTH: "0"}), (packed(FLOATS)[0], {LENGTH: "9999"}), (b"", {}), (b"[]", {}), (b"5", {}),
    (listed()[0], {}), (listed()[0], {"Origin": "http://elsewhere"}), (listed()[0], {"Content-Type": "text/plain"}),
    (b'{"inputs":{"0":1}}', {}), (b'{"inputs":["rows"]}', {}), (b'{"inputs":[null]}', {}), (b'{"inputs"', {}),
]  # fmt: skip


async def post(api: Api, ref: str, sent: Sent, route: str = "") -> httpx.Response:
    return await api.http.post(f"/v2/models/{ref}/infer{route}", content=sent[0], headers=sent[1])


def said(answer: httpx.Response) -> tuple[Any, ...]:
    """What a caller sees, without the request's own id."""
    length, mine = answer.headers.get(LENGTH), answer.headers["x-request-id"].encode()
    body = answer.content.replace(mine, b"req")
    return answer.status_code, answer.headers["content-type"], length and int(length), body


async def test_every_inference_is_answered_as_on_the_documented_route(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        api.store.models.add_version("flowers", ref)
        good = 0
        for sent in REQUESTS:
            hot, route = [await post(api, ref, sent, way) for way in ("", ROUTE)]
            assert said(hot) == said(route), sent
            good += hot.status_code == 200
        assert 20 < good < len(REQUESTS) - 20
        text = await counted(api)
        for path in ("flowers", "flowers/versions/1", "flowers/versions/2", "flowers/versions/", "a/b", "none", text):
            assert said(await post(api, path, listed())) == said(await post(api, path, listed(), ROUTE)), path


async def test_columns_of_words_and_single_columns_are_as_everywhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        rows = [{"size": i / 2, "color": "rgb"[i % 3], "y": float(i % 3)} for i in range(24)]
        linear = {"layers": [{"kind": "dense", "units": 1}]}
        for features in (["size"], ["size", "color"]):
            data = {"rows": rows, "target": "y", "features": features}
            ref = await trained(api, dataset=data, network=linear, loss={"kind": "squared_error"})
            for name in ("size", "color", "other"):
                sent = listed({"name": name, "shape": [8, 1]})
                assert said(await post(api, ref, sent)) == said(await post(api, ref, sent, ROUTE))


async def test_inferences_that_come_together_share_a_pass_and_keep_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as api:
        ref = await trained(api)
        given = [listed({"data": (np.array(FLAT) + i / 9).tolist()}, id=f"id-{i}") for i in range(9)]
        alone = [(await post(api, ref, each, ROUTE)).json() for each in given]
        passes: list[int] = []
        asked = Network.__call__

        def passed(self: Network, x: Any, *more: Any) -> Any:
            passes.append(len(x))
            return asked(self, x, *more)

        monkeypatch.setattr(Network, "__call__", passed)
        together = [each.json() for each in await asyncio.gather(*(post(api, ref, each) for each in given))]
    assert passes == [18]
    for one, other in zip(alone, together, strict=True):
        assert one["id"] == other["id"]
        assert one["outputs"][1] == other["outputs"][1]
        assert np.array(one["outputs"][0].pop("data")) == pytest.approx(
            np.array(other["outputs"][0].pop("data")), abs=TOLERANCE
        )
        assert one["outputs"][0] == other["outputs"][0]


async def test_an_inference_sent_again_is_answered_where_its_bytes_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        ref = await trained(place.api)
        for number, (body, headers) in enumerate([listed(id="a"), packed(FLOATS, id="b", **BOTH), packed(FLOATS)]):
            lines = "".join(
                f"{name}: {value}\r\n" for name, value in (headers | {"Content-Length": str(len(body))}).items()
            )
            asked = f"POST /v2/models/{ref}/infer HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body
            first, second = [await line.ask(asked) for _ in range(2)]
            assert said(first) == said(second)
            assert (first.status_code, place.direct) == (200, number + 1)
