"""The hot path answers what the documented route answers, whoever else asks at the same moment."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_server import Api, problem, serving
from test_api_models import SETOSA, counted, trained

from service.engine import Network
from service.serving import SMALL

pytestmark = pytest.mark.anyio
RAW, JSON = "application/octet-stream", "application/json"
ROUTE = "identity"  # a Content-Encoding is unusual enough
SIDES = ("left", "right")
TOLERANCE = 1e-6  # of a probability: a row's sums are added in another order when others stand beside it


async def post(api: Api, ref: str, body: bytes, kind: str = JSON, accept: str = "*/*", route: str = "") -> Any:
    headers = {"Content-Type": kind, "Accept": accept} | ({"Content-Encoding": route} if route else {})
    return await api.http.post(f"/v1/models/{ref}/predict", content=body, headers=headers)


def said(answer: httpx.Response) -> tuple[int, str, Any]:
    """What a caller sees, without the request's own id."""
    kind = answer.headers["content-type"]
    document = answer.json() if "json" in kind else answer.content
    if isinstance(document, dict):
        document.pop("request_id", None)
    assert answer.headers["x-request-id"].startswith("req_")
    return answer.status_code, kind, document


BODIES: list[bytes] = [
    b'{"rows":[[5.1,3.5,1.4,0.2]]}', b'{"rows":[[5,3,1,0],[6.7,3.1,5.6,2.4]],"top_k":1}', b'{"rows":[[5,3,1]]}',
    b'{"rows":[[5,3,1,true]]}', b'{"rows":[[5,3,1,null]]}', b'{"rows":[[5,3,1,NaN]]}', b'{"rows":[[5,3,1,1e999]]}',
    b'{"rows":[[5,3,1,1e300]]}', b'{"rows":[["a",3,1,1]]}', b'{"rows":[]}', b'{"rows":[[]]}', b'{"rows":[{}]}',
    b"{}", b"[]", b'{"rows":[[5,3,1,1],3]}', b'{"rows":5}', b'{"rows":"abc"}', b'{"rows":[[5,3,1,1]],"top_k":null}',
    b'{"rows":[784]}', b'{"rows":[[5,3,1,1]],"top_k":0}', b'{"rows":[[5,3,1,1]],"top_k":true}',
    b'{"rows":[[5,3,1,1]],"top_k":1001}', b" ", b'{"rows":[[5,3,1,1]],"k":1}',
    b'{"rows":[[5,3,1,1]],"rows":[[1,1,1,1]]}', b"", b'{"rows":[[5,3,1,1]]', b'\xff{"rows"',
    b'{"rows":[[5,3,1,%s]]}' % (b"9" * 400), b'{"rows":' + b"[" * 5_000 + b"]" * 5_000 + b"}", b"null",
    b'{"rows":[[[5,3,1,1]]]}', b'{"rows":[[5,3,1,1]],"logits":true}', b'{"rows":[[5,3,1,1]],"probabilities":false}',
    json.dumps({"rows": [SETOSA, [6.7, 3.1, 5.6, 2.4]]}).encode(),
    json.dumps({"rows": [SETOSA | {"x": 1}]}).encode(),
]  # fmt: skip


async def test_every_body_is_answered_as_on_the_documented_route(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body_bytes=20_000) as api:
        ref = await trained(api)
        for body in [*BODIES, b'{"rows":[' + b"[5,3,1,1]," * 2_500 + b"[5,3,1,1]]}"]:
            assert said(await post(api, ref, body)) == said(await post(api, ref, body, route=ROUTE)), body[:80]
        floats = np.array([[5.1, 3.5, 1.4, 0.2]], "<f4").tobytes()
        for body in (floats, floats * 3, floats[:-1], b"", np.full(4, np.nan, "<f4").tobytes(), bytes(30_000)):
            for accept in (RAW, JSON, "text/html", f"{JSON}, {RAW}"):
                hot_, route = [await post(api, ref, body, RAW, accept, way) for way in ("", ROUTE)]
                assert said(hot_) == said(route)
                assert hot_.headers.get("x-model") == route.headers.get("x-model")
        for other in ("nothing", "a/b", "run_nothing", f"{ref}@latest", f"{ref}%20"):
            assert said(await post(api, other, BODIES[0])) == said(await post(api, other, BODIES[0], route=ROUTE))


async def test_a_body_in_pieces_and_a_request_id_are_as_everywhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        url = f"/v1/models/{await trained(api)}/predict"
        whole = await api.http.post(url, content=BODIES[0], headers={"Content-Type": JSON, "X-Request-Id": "mine"})
        assert (whole.status_code, whole.headers["x-request-id"]) == (200, "mine")
        odd = await api.http.post(url, content=BODIES[0], headers={"Content-Type": JSON, "X-Request-Id": "a b"})
        assert odd.headers["x-request-id"].startswith("req_")

        async def pieces() -> Any:
            for byte in BODIES[0]:
                yield bytes([byte])

        for headers in ({"Content-Length": str(len(BODIES[0]))}, {}):
            answer = await api.http.post(url, content=pieces(), headers={"Content-Type": JSON} | headers)
            assert answer.json() == whole.json()


@pytest.mark.parametrize("small", [SMALL, -1], ids=["in the loop", "in threads"])
async def test_requests_that_come_together_share_passes_and_keep_their_answers(
    tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.hot.SMALL", small)
    passes: list[int] = []
    alone = Network.__call__

    def passed(self: Network, x: Any, *more: Any) -> Any:
        passes.append(len(x))
        return alone(self, x, *more)

    async with serving(tmp_path) as api:
        ref = await trained(api)
        dice = np.random.default_rng(0)
        rows = [dice.uniform(0, 7, (1 + at % 3, 4)).astype("<f4") for at in range(60)]
        bodies = [json.dumps({"rows": each.tolist()}).encode() for each in rows]
        apart = [await post(api, ref, body, route=ROUTE) for body in bodies]
        bad = [b'{"rows":[[1,2,3]]}', b'{"rows":[[1,2,3,"x"]]}', b"{"]
        monkeypatch.setattr(Network, "__call__", passed)
        asked = [post(api, ref, body) for body in [*bodies, *bad]]
        asked += [post(api, ref, each.tobytes(), RAW, RAW) for each in rows] + [post(api, ref, b"abc", RAW, RAW)]
        told = await asyncio.gather(*asked)
        assert sum(passes) == 2 * sum(map(len, rows))
        assert len(passes) <= 60  # of 120 that are in order, 40 at least had company
        for one, many, raw in zip(apart, told[:60], told[63:123], strict=True):
            expected = [list(each["probabilities"].values()) for each in one.json()["predictions"]]
            found = [list(each["probabilities"].values()) for each in many.json()["predictions"]]
            assert np.array(found) == pytest.approx(np.array(expected), abs=TOLERANCE)
            in_order = np.sort(np.frombuffer(raw.content, "<f4").reshape(-1, 3), axis=1)
            assert in_order == pytest.approx(np.sort(np.array(expected), axis=1), abs=TOLERANCE)
        assert [each.status_code for each in (*told[60:63], told[123])] == [422, 422, 400, 422]


async def test_two_versions_never_mix_while_an_alias_moves_under_load(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for here, there in (SIDES, SIDES[::-1]):
            rows = [{"x": 1.0, "y": 1.0, "side": here}, {"x": -1.0, "y": -1.0, "side": there}] * 40
            two = {"layers": [{"kind": "dense", "units": 2, "activation": "softmax"}]}
            run = await trained(api, dataset={"rows": rows, "target": "side"}, network=two)
            api.store.models.add_version("sides", run)
        api.store.models.set_alias("sides", "live", 1)
        seen: set[tuple[str, str]] = set()
        done = False

        async def ask(raw: bool) -> None:
            body, kind = (np.ones((3, 2), "<f4").tobytes(), RAW) if raw else (b'{"rows":[[1,1],[1,1],[1,1]]}', JSON)
            while not done:
                answer = await post(api, "sides@live", body, kind, RAW if raw else JSON)
                if raw:
                    p = np.frombuffer(answer.content, "<f4").reshape(3, 2)
                    seen.update((answer.headers["x-model"], SIDES[at]) for at in p.argmax(1))
                else:
                    seen.update((answer.json()["model"], each["label"]) for each in answer.json()["predictions"])

        async def move() -> None:
            for turn in range(20):
                version = 1 + turn % 2
                await asyncio.to_thread(api.store.models.set_alias, "sides", "live", version)
                answer = await post(api, "sides@live", b'{"rows":[[1,1]]}')
                assert answer.json()["model"] == f"sides:{version}", "a request after the move sees it"

        askers = [asyncio.ensure_future(ask(bool(at % 2))) for at in range(8)]
        await move()
        done = True
        await asyncio.gather(*askers)
        assert seen == {("sides:1", "left"), ("sides:2", "right")}


async def test_a_text_model_takes_no_rows_on_this_path_either(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert "text model" in problem(await post(api, await counted(api), b'{"rows":[[1]]}'), 422)["detail"]
