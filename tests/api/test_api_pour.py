"""Over a real connection a stream's frames go past the framework; a reader that stops reading loses none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from api_server import Api
from test_api_direct import PATIENCE_S, Place, listening

from service import clock
from service.api import Direct
from service.api.direct import Pour
from service.storage import Attempt, Owner, Report

pytestmark = pytest.mark.anyio


async def begun(api: Api) -> tuple[str, Attempt]:
    job = (await api.submit()).json()
    attempt = api.store.runs.claim(Owner(1, "1", clock.boot_id()), 60)
    assert attempt is not None
    return job["id"], attempt


def happen(api: Api, attempt: Attempt, times: int, size: int) -> None:
    api.store.runs.report(attempt, Report(events=tuple(("epoch", {"text": "x" * size}) for _ in range(times))))


@asynccontextmanager
async def stream(place: Place, job_id: str, after: int = 0) -> AsyncIterator[httpx.Response]:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}", timeout=PATIENCE_S) as http,
        http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        yield answer


def ids(lines: list[str]) -> list[int]:
    return [int(line[4:]) for line in lines if line.startswith("id: ")]


async def until(place: Place, events: int, lines: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(ids(lines)) < events:
            await asyncio.sleep(0.005)


@pytest.fixture
def poured(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each piece went straight to its connection."""
    said, pour = list[bool](), Pour.__call__

    def noted(self: Pour, piece: bytes) -> bool:
        said.append(pour(self, piece))
        return said[-1]

    monkeypatch.setattr(Pour, "__call__", noted)
    return said


async def test_events_go_straight_to_those_who_wait_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poured: list[bool]
) -> None:
    async with listening(tmp_path, monkeypatch) as place:
        job_id, attempt = await begun(place.api)
        first, second, heard = list[str](), list[str](), [list[str](), list[str]()]

        async def listen(into: list[str], after: int = 0) -> None:
            async with stream(place, job_id, after) as answer:
                lines = answer.aiter_lines()
                with suppress(StopAsyncIteration):
                    while True:
                        into.append(await anext(lines))

        readers = [asyncio.create_task(listen(each)) for each in heard]
        for place_in_time in range(5):
            happen(place.api, attempt, 1 + place_in_time % 2, 10)
            for each in heard:
                await until(place, 2 + (0, 1, 3, 4, 6, 7)[place_in_time + 1], each)
        readers[0].cancel()  # goes, and comes back
        first += heard[0]
        happen(place.api, attempt, 3, 10)
        readers[0] = asyncio.create_task(listen(second, ids(first)[-1]))
        await until(place, 3, second)
        place.api.store.runs.finish(attempt, "succeeded")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*readers)
        stored = [event.id for event in place.api.store.events.after(0, job_id=job_id)]
        assert ids(first + second) == stored
        assert ids(heard[1]) == stored
        assert [line for line in second if line.startswith("event: ")][-1] == "event: end"
        assert sum(poured) >= 5


async def test_a_reader_that_stops_reading_for_a_while_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poured: list[bool]
) -> None:
    async with listening(tmp_path, monkeypatch) as place:
        job_id, attempt = await begun(place.api)
        async with stream(place, job_id) as answer:
            lines = answer.aiter_lines()
            heard = [await anext(lines)]
            async with asyncio.timeout(PATIENCE_S):
                while False not in poured:  # until the connection takes no more
                    happen(place.api, attempt, 1, 60_000)
                    await asyncio.sleep(0.005)
            happen(place.api, attempt, 20, 60_000)
            place.api.store.runs.finish(attempt, "succeeded")
            async with asyncio.timeout(PATIENCE_S):
                heard += [line async for line in lines]
        assert ids(heard) == [event.id for event in place.api.store.events.after(0, job_id=job_id)]
        assert "event: end" in heard


async def test_a_server_that_leaves_ends_a_stream_in_the_form_of_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poured: list[bool]
) -> None:
    async with listening(tmp_path, monkeypatch) as place:
        job_id, attempt = await begun(place.api)
        async with stream(place, job_id) as answer:
            lines = answer.aiter_lines()
            heard = [await anext(lines)]
            happen(place.api, attempt, 1, 10)
            while len(ids(heard)) < 3:
                heard.append(await anext(lines))
            place.api.app.state.leave()
            async with asyncio.timeout(PATIENCE_S):
                heard += [line async for line in lines]  # raises when the last chunk is missing
        assert "event: end" not in heard
        assert all(isinstance(each, Direct) for each in place.state.connections)
