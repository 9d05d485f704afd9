"""Points of a caller who is alone are answered where their bytes arrive, and as the documented route answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from test_api_direct import PATIENCE_S, listening
from test_api_ingest import BODIES, MLFLOW, RAW, created, said, series

from service.api.clerk import Clerk
from service.api.ingest import Said

pytestmark = pytest.mark.anyio
POINT = {"step": 1, "metrics": {"loss": 0.5}}


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each attempt to write at once succeeded; no disk is slow unless the test says so."""
    found, written = list[bool](), Clerk._written

    def noted(self: Clerk, said: Said) -> bool:
        found.append(written(self, said))
        return found[-1]

    monkeypatch.setattr(Clerk, "_written", noted)
    monkeypatch.setattr("service.api.clerk._SLOW_S", PATIENCE_S * 100)
    return found


def request(path: str, body: Any, kind: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def metrics(run_id: str) -> str:
    return f"/v1/runs/{run_id}/metrics"


async def test_every_body_of_a_lone_caller_is_answered_as_behind_the_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch, max_body_bytes=10_000) as place, place.line() as line:
        alone, behind = await created(place.api), await created(place.api)
        good = 0
        for body in (*BODIES, *RAW):
            first, *again = [await line.ask(request(metrics(alone), body)) for _ in range(3)]
            plain = await line.ask(request(metrics(behind), body, "application/json; version=1"))
            assert {said(each, alone) for each in (first, *again)} == {said(plain, behind)}, body
            good += first.status_code == 200
        assert place.direct >= 2 * good, "a head was known from the first time on"
        assert await series(place.api, alone) == await series(place.api, behind)
        point = {"key": "loss", "value": 0.5, "timestamp": 7, "step": 9}
        told = [await line.ask(request(f"{MLFLOW}/log-metric", {"run_id": alone, **point})) for _ in range(2)]
        assert [each.text for each in told] == ["{}", "{}"]
        await place.api.http.post(f"/v1/runs/{alone}/end", json={"status": "succeeded"})
        assert (await line.ask(request(metrics(alone), BODIES[0]))).status_code == 409


async def test_a_shorter_body_behind_the_same_head_is_known_and_a_longer_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        run = await created(place.api)
        for step, direct in ((100, 0), (99, 1), (1000, 1), (5, 2), (100, 3), (999, 4), (10_000, 4)):
            sent = request(metrics(run), {"step": step, "metrics": {"loss": step / 2}})
            assert (await line.ask(sent)).json() == {"run": run, "points": 1}
            assert place.direct == direct, step
        twice = request(metrics(run), POINT).replace(b"Host: x", b"Content-Length: 5\r\nHost: x")
        assert (await line.ask(twice)).status_code == 400


async def test_who_is_not_alone_takes_the_way_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        run = await created(place.api)
        first = await line.ask(request(metrics(run), POINT))
        assert said(await line.ask(request(metrics(run), POINT)), run) == said(first, run)
        assert place.direct == 1
        async with place.line() as other:
            assert said(await other.ask(request(metrics(run), POINT)), run) == said(first, run)
            assert said(await line.ask(request(metrics(run), POINT)), run) == said(first, run)
            assert place.direct == 1


async def test_while_another_process_writes_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[bool]
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        run = await created(place.api)
        asked = request(metrics(run), POINT)
        first, _ = await line.ask(asked), await line.ask(asked)
        other = sqlite3.connect(tmp_path / "netwright.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await line.send(asked)
        async with asyncio.timeout(PATIENCE_S):
            while taken != [True, False]:
                await asyncio.sleep(0.001)
        assert (await place.api.http.get("/health/live")).status_code == 200
        other.execute("ROLLBACK")
        other.close()
        assert said(await line.answer(), run) == said(first, run)
        assert said(await line.ask(asked), run) == said(first, run)
        assert (taken, place.direct) == ([True, False, True], 2)


async def test_after_a_slow_commit_the_loop_makes_none_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[bool]
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        run = await created(place.api)
        asked = request(metrics(run), POINT)
        monkeypatch.setattr("service.api.clerk._SLOW_S", -1.0)
        monkeypatch.setattr("service.api.clerk._REST_S", PATIENCE_S * 100)
        told = [said(await line.ask(asked), run) for _ in range(4)]
        assert told == told[:1] * 4
        assert (taken, place.direct) == ([True], 1)


async def test_what_breaks_at_once_is_written_by_the_documented_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        run = await created(place.api)
        first = await line.ask(request(metrics(run), POINT))
        clerk: Clerk = place.api.app.clerk  # type: ignore[attr-defined]

        def broken(given: object) -> list[bool]:
            raise RuntimeError("a bug")

        monkeypatch.setattr(clerk, "_append_all", broken)
        assert said(await line.ask(request(metrics(run), POINT)), run) == said(first, run)
        assert place.direct == 0
        assert "not written at once" in caplog.text
