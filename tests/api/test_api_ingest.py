"""Points that other programs log share transactions, and are answered and refused as the documented routes do it."""

from __future__ import annotations

import asyncio
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_server import Api, serving
from numpy.typing import NDArray

from service.api.ledger import Ledger
from service.serving import NPY_TYPE

pytestmark = pytest.mark.anyio
AHEAD, BEHIND = "application/json", "application/json; version=1"  # the second is unusual enough for the framework
MLFLOW = "/api/2.0/mlflow/runs"
BODIES: list[Any] = [
    {"step": 1, "metrics": {"loss": 0.5, "odd": "NaN"}}, {"step": 1, "metrics": {}}, {},
    {"step": 2, "metrics": {"loss": 1}, "time": 1_700_000_000_000},
    {"series": {"loss": {"steps": [3, 4], "values": [0.1, 0.2], "times": [1, 2]}}},
    {"series": {"loss": {"steps": [5, 5, 4], "values": [1, 2, 3]}}},
    {"series": {"loss": {"steps": [6], "values": [None], "nonfinite": [{"step": 6, "value": "-Infinity"}]}}},
    {"series": {"loss": {"steps": [6], "values": [None]}}}, {"series": {"loss": {"steps": [6], "values": []}}},
    {"metrics": {"loss": 1}}, {"step": -1, "metrics": {"loss": 1}}, {"step": 1.5, "metrics": {"loss": 1}},
    {"step": 1, "metrics": {"loss": True}}, {"step": 1, "metric": {"loss": 1}}, {"step": 1, "metrics": {"": 1}}, [], 1,
]  # fmt: skip
MANY = list(range(1000, 1300))
LONG: list[dict[str, Any]] = [
    {"steps": MANY, "values": [1 / step for step in MANY], "times": MANY}, {"steps": MANY, "values": MANY},
    {"steps": [*MANY, 7, 1001], "values": [*MANY, 7, 0.5], "times": None},
    {"steps": MANY, "values": MANY[1:]}, {"steps": MANY, "values": MANY, "times": MANY[1:]},
    *({"steps": [*MANY, bad], "values": [*MANY, 1]} for bad in (-1, 1.0, 1 << 62, 1 << 63, True, None, "1")),
    *({"steps": [*MANY, 1], "values": [*MANY, 1], "times": [*MANY, bad]} for bad in (-1, 1 << 62, 0.5)),
    *({"steps": [*MANY, 1], "values": [*MANY, bad]} for bad in (None, True, "1", float("nan"), float("inf"), 10**400)),
    {"steps": MANY, "values": MANY, "time": MANY},
]  # fmt: skip
RAW = [b"", b" ", b"{", b'{"step": 1, "metrics": {"loss": NaN}}', b"\xff", b'{"step":1,"step":2,"metrics":{"loss":1}}']


async def created(api: Api) -> str:
    return str((await api.http.post("/v1/runs", json={"type": "external"})).json()["id"])


async def post(api: Api, path: str, body: Any, kind: str = AHEAD) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await api.http.post(path, content=content, headers={"content-type": kind})


def said(answer: httpx.Response, run_id: str) -> tuple[int, str, str]:
    text = answer.text.replace(run_id, "RUN").replace(answer.headers["x-request-id"], "ID")
    return answer.status_code, answer.headers["content-type"], text


async def series(api: Api, run_id: str) -> Any:
    found = (await api.http.get(f"/v1/runs/{run_id}/metrics/series")).json()["series"]
    return {name: (each["steps"], each["values"], each["nonfinite"]) for name, each in found.items()}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether what was given to the ledger was written, one after the other."""
    answers, write = list[bool](), Ledger.write

    async def noted(self: Ledger, run_id: str, points: Any) -> bool:
        answers.append(await write(self, run_id, points))
        return answers[-1]

    monkeypatch.setattr(Ledger, "write", noted)
    return answers


async def test_every_body_is_answered_ahead_of_the_framework_as_behind_it(tmp_path: Path, counted: list[bool]) -> None:
    async with serving(tmp_path, max_body_bytes=10_000) as api:
        ahead, behind = await created(api), await created(api)
        for body in (*BODIES, *RAW, b" " * 20_000):
            first = await post(api, f"/v1/runs/{ahead}/metrics", body)
            before = len(counted)
            second = await post(api, f"/v1/runs/{behind}/metrics", body, BEHIND)
            assert len(counted) == before
            assert said(first, ahead) == said(second, behind), body
        assert sum(counted) == 8  # of a key that stands twice the last one counts, as on the route
        assert await series(api, ahead) == await series(api, behind)
        await post(api, f"/v1/runs/{ahead}/end", {"status": "succeeded"})
        for run_id in (ahead, "run_nothing", "a%2Fb", "a/b"):
            path, body = f"/v1/runs/{run_id}/metrics", BODIES[0]
            assert said(await post(api, path, body), ahead) == said(await post(api, path, body, BEHIND), ahead)


async def test_long_columns_are_answered_ahead_as_behind(tmp_path: Path, counted: list[bool]) -> None:
    async with serving(tmp_path) as api:
        runs = [await created(api) for _ in range(2)]
        bodies = [{"series": {"loss": each}} for each in LONG]
        for body in (
            *bodies,
            bodies[0] | {"step": 1},
            {"series": {"a\n": LONG[0]}},
            {"series": {"a": LONG[0], "b": LONG[1]}},
        ):
            first, second = [
                said(await post(api, f"/v1/runs/{run_id}/metrics", body, kind), run_id)
                for run_id, kind in zip(runs, (AHEAD, BEHIND), strict=True)
            ]
            assert first == second, body
        assert sum(counted) == 5
        assert await series(api, runs[0]) == await series(api, runs[1])


async def test_tables_of_numpy_are_answered_ahead_as_behind(tmp_path: Path, counted: list[bool]) -> None:
    table = np.zeros(3, [("step", "<i8"), ("time", "<i8"), ("loss", "<f4"), ("error", "<f8")])
    table["step"], table["time"], table["loss"], table["error"] = (2, 1, 2), (7, 8, 9), (0.5, np.nan, 0.25), np.inf
    async with serving(tmp_path) as api:
        runs = [await created(api) for _ in range(2)]
        for body in (
            saved(table),
            saved(table[:0]),
            saved(table[["loss"]]),
            saved(np.zeros(3)),
            saved(table)[:-1],
            b"?",
        ):
            first, second = [
                said(await post(api, f"/v1/runs/{run_id}/metrics", body, kind), run_id)
                for run_id, kind in zip(runs, (NPY_TYPE, f"{NPY_TYPE}; version=1"), strict=True)
            ]
            assert first == second, body
        assert sum(counted) == 2
        assert await series(api, runs[0]) == await series(api, runs[1])


def saved(table: NDArray[Any]) -> bytes:
    np.save(file := BytesIO(), table)
    return file.getvalue()


async def test_what_mlflow_clients_log_is_answered_alike(tmp_path: Path, counted: list[bool]) -> None:
    point: dict[str, Any] = {"key": "loss", "value": 0.5, "timestamp": 7, "step": 1}
    batches: list[dict[str, Any]] = [
        {"metrics": [point, {**point, "value": 0.25}]}, {"metrics": []}, {"metrics": [{**point, "step": -1}]},
        {"metrics": [point], "params": [{"key": "a", "value": "b"}]}, {"tags": [{"key": "a", "value": "b"}]},
        {"metrics": [{"key": "loss"}]},
    ]  # fmt: skip
    async with serving(tmp_path) as api:
        runs = [await created(api) for _ in range(2)]
        for path, given in [
            ("log-metric", point),
            ("log-metric", {"key": 1}),
            *(("log-batch", each) for each in batches),
        ]:
            first, second = [
                said(await post(api, f"{MLFLOW}/{path}", {"run_id": run_id, **given}, kind), run_id)
                for run_id, kind in zip(runs, (AHEAD, BEHIND), strict=True)
            ]
            assert first == second, given
        assert sum(counted) == 3
        assert await series(api, runs[0]) == await series(api, runs[1])
        nowhere = [
            await post(api, f"{MLFLOW}/log-metric", {"run_id": "run_x", **point}, kind) for kind in (AHEAD, BEHIND)
        ]
        assert said(nowhere[0], "x") == said(nowhere[1], "x")
        assert nowhere[0].json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


async def test_callers_who_come_together_share_a_transaction_and_each_hears_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as api:
        runs = [await created(api) for _ in range(3)]
        await post(api, f"/v1/runs/{runs[2]}/end", {"status": "succeeded"})
        transactions, append_all = list[int](), api.store.metrics.append_all

        ledger, until = api.app.state.ledger, time.monotonic() + 60

        def noted(given: Any) -> list[bool]:
            """The first transaction takes until all others have asked."""
            while not transactions and ledger._entries.qsize() + len(given) < len(asked):
                assert time.monotonic() < until
                time.sleep(0.001)
            transactions.append(len(given))
            return append_all(given)

        monkeypatch.setattr(ledger, "_append_all", noted)

        def one(place: int, run_id: str) -> Any:
            return post(api, f"/v1/runs/{run_id}/metrics", {"step": place, "metrics": {"loss": place / 4}})

        asked = [(place, run_id) for place in range(60) for run_id in (*runs, "run_nothing")]
        answers = await asyncio.gather(*(one(*each) for each in asked))
        told = {
            run_id: {a.status_code for a, each in zip(answers, asked, strict=True) if each[1] == run_id}
            for run_id in (*runs, "run_nothing")
        }
        assert told == {runs[0]: {200}, runs[1]: {200}, runs[2]: {409}, "run_nothing": {404}}
        assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
        for run_id in runs[:2]:
            assert (await series(api, run_id))["loss"] == (list(range(60)), [place / 4 for place in range(60)], [])
        assert sum(transactions) == len(asked)
        assert len(transactions) <= 2


async def test_a_transaction_that_breaks_for_all_is_made_by_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as api:
        run_id = await created(api)

        def broken(given: Any) -> list[bool]:
            raise ValueError("broken")

        monkeypatch.setattr(api.app.state.ledger, "_append_all", broken)
        for step in range(3):
            answer = await post(api, f"/v1/runs/{run_id}/metrics", {"step": step, "metrics": {"loss": 1}})
            assert answer.status_code == 200
        assert (await series(api, run_id))["loss"][0] == [0, 1, 2]
