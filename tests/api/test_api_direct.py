"""Over a real connection the second of two like requests is answered without the framework, and says the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from api_server import Api, serving
from test_api_hot import BODIES, JSON, RAW, said
from test_api_models import trained
from uvicorn.server import ServerState

from service.api import Direct
from service.api.desk import Desk

pytestmark = pytest.mark.anyio
PATIENCE_S = 30.0
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], "<f4").tobytes()


class Line:
    """A client that sends the bytes it is told to, and reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for each in pieces:
            self.writer.write(each)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> httpx.Response:
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return httpx.Response(int(first.split()[1]), headers=headers, content=body)

    async def ask(self, *pieces: bytes) -> httpx.Response:
        await self.send(*pieces)
        return await self.answer()


class Place:
    """A server of real connections over the app, and how often its desk answered."""

    def __init__(self, api: Api, port: int, state: ServerState) -> None:
        self.api, self.port, self.state, self.direct = api, port, state, 0

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Place]:
    async with serving(tmp_path, **settings) as api:
        config, state = (
            uvicorn.Config(api.app, http=Direct, ws="none", log_config=None, interface="asgi3"),
            ServerState(),
        )
        server = await asyncio.get_running_loop().create_server(lambda: Direct(config, state, {}), "127.0.0.1", 0)
        place = Place(api, server.sockets[0].getsockname()[1], state)
        written = Direct.answer

        def counted(self: Direct, headers: bytes, body: bytes) -> None:
            place.direct += 1
            written(self, headers, body)

        monkeypatch.setattr(Direct, "answer", counted)
        try:
            yield place
        finally:
            server.close()
            for each in list(state.connections):
                each.shutdown()
            async with asyncio.timeout(PATIENCE_S):
                while state.connections:
                    await asyncio.sleep(0.01)


def request(ref: str, body: bytes, kind: str = JSON, accept: str = "*/*", **more: str) -> bytes:
    head = {"Host": "x", "Content-Type": kind, "Accept": accept, "Content-Length": str(len(body)), **more}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"POST /v1/models/{ref}/predict HTTP/1.1\r\n{lines}\r\n".encode() + body


async def test_every_body_sent_again_is_answered_as_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch, max_body_bytes=20_000) as place, place.line() as line:
        ref = await trained(place.api)
        good = 0
        for body, kind, accept in [
            *((body, JSON, "*/*") for body in BODIES),
            *((body, RAW, accept) for body in (ROW, ROW * 3, ROW[:-1], b"") for accept in (RAW, JSON)),
        ]:
            first, *again = [await line.ask(request(ref, body, kind, accept)) for _ in range(3)]
            assert [said(each) for each in again] == [said(first)] * 2, body[:80]
            assert {each.headers.get("x-model") for each in again} == {first.headers.get("x-model")}
            good += first.status_code == 200
        assert place.direct >= good, "a head was known from the first time on"
        for other in ("nothing", "run_nothing", f"{ref}@latest", f"{ref}%20", "a/b"):
            first, second = [await line.ask(request(other, BODIES[0])) for _ in range(2)]
            assert said(first) == said(second)


async def test_requests_in_pieces_and_many_in_one_are_answered_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line, place.line() as other:
        ref = await trained(place.api)
        json_, raw = request(ref, BODIES[0]), request(ref, ROW, RAW, RAW)
        bad, page = request(ref, b"{}"), b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        one, two, three = [await line.ask(each) for each in (json_, raw, bad)]
        assert (one.status_code, two.status_code, three.status_code) == (200, 200, 422)
        for at in (1, 30, len(json_) - len(BODIES[0]), len(json_) - 1):
            assert said(await line.ask(json_[:at], json_[at:])) == said(one)
        await line.send(json_ + raw + bad + page + json_, raw, bad, page, json_)
        await other.send(raw, json_)
        told = [await line.answer() for _ in range(9)]
        assert [each.status_code for each in told] == [200, 200, 422, 200, 200, 200, 422, 200, 200]
        for at, expected in ((0, one), (1, two), (4, one), (5, two), (8, one)):
            assert said(told[at]) == said(expected)
        assert [said(await other.answer()) for _ in range(2)] == [said(two), said(one)]
        assert place.direct


async def test_a_callers_own_id_and_a_closing_connection_are_the_servers_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        ref = await trained(place.api)
        for name in ("mine", "yours"):
            for _ in range(2):
                told = await line.ask(request(ref, BODIES[0], X_Request_Id=name))
                assert told.headers["x-request-id"] == name
        assert not place.direct
        last = request(ref, BODIES[0], Connection="close")
        assert (await line.ask(last)).headers["connection"] == "close"
        assert await line.reader.read() == b""
        async with place.line() as next_line:
            assert (await next_line.ask(last)).headers["connection"] == "close"
            assert await next_line.reader.read() == b""


async def test_who_waits_is_answered_before_the_server_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line, place.line():
        ref = await trained(place.api)
        asked = request(ref, BODIES[0])
        assert (await line.ask(asked)).status_code == 200
        taken = Desk.take

        def and_leave(self: Desk, *given: Any) -> bool:
            found = taken(self, *given)
            for each in list(place.state.connections):
                each.shutdown()
            return found

        monkeypatch.setattr(Desk, "take", and_leave)
        assert (await line.ask(asked)).status_code == 200
        assert place.direct == 1
        assert await line.reader.read() == b""


async def test_a_head_that_comes_before_its_body_is_known_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        ref = await trained(place.api)
        asked = request(ref, BODIES[0])
        at = asked.index(b"\r\n\r\n") + 4
        head, body = asked[:at], asked[at:]

        async def heard(*pieces: bytes) -> httpx.Response:
            """As the connection hears them one by one."""
            while not place.state.connections:
                await asyncio.sleep(0)
            (connection,) = place.state.connections
            assert isinstance(connection, Direct)
            for each in pieces:
                connection.data_received(each)
            return await line.answer()

        first = await heard(head, body)
        assert (first.status_code, place.direct) == (200, 0)
        for number, pieces in enumerate([(head, body), (head, body[:5], body[5:]), (head + body[:5], body[5:])], 1):
            assert said(await heard(*pieces)) == said(first)
            assert place.direct == number
        assert said(await heard(head[:9], head[9:], body)) == said(first)
        wrong = await heard(head, body.replace(b"[[", b"[{"))
        assert (wrong.status_code, place.direct) == (400, 3)
        assert said(await heard(head, body + asked)) == said(await line.answer()) == said(first)
        (connection,) = place.state.connections
        connection.data_received(head)
        connection.shutdown()
        connection.data_received(body)
        assert said(await line.answer()) == said(first)
        assert await line.reader.read() == b""


async def test_connections_that_ask_together_share_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as first, place.line() as second:
        ref = await trained(place.api)
        bodies = [json.dumps({"rows": [[5.1, 3.5, 1.4, 0.1 * at]]}).encode() for at in range(3, 6)]
        alone = [await first.ask(request(ref, body)) for body in bodies]
        hot: Any = place.api.app
        desk: Desk = hot.hot.desk
        found: list[bytes] = []

        class Heard:
            def answer(self, headers: bytes, body: bytes) -> None:
                found.append(body)

            def decline(self, request: bytes) -> None:
                raise AssertionError(request)

        later: list[Any] = []
        for body in bodies:
            assert desk.take(request(ref, body), Heard(), later.append)
        assert (len(later), found) == (1, [])
        later[0]()
        for body, one in zip(found, alone, strict=True):
            a, b = json.loads(body)["predictions"][0], one.json()["predictions"][0]
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-6)
        assert (await second.ask(request(ref, bodies[0]))).json() == alone[0].json()


async def test_a_connection_is_closed_when_nothing_was_asked_for_long_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line:
        ref = await trained(place.api)
        asked = request(ref, BODIES[0])
        for _ in range(3):
            assert (await line.ask(asked)).status_code == 200
        assert place.direct == 2
        (connection,) = place.state.connections
        assert isinstance(connection, Direct)
        connection.timeout_keep_alive_handler()  # rings while the last answer is young
        assert (await line.ask(asked)).status_code == 200
        connection.timeout_keep_alive = 0
        connection.timeout_keep_alive_handler()
        async with asyncio.timeout(PATIENCE_S):
            assert await line.reader.read() == b""


async def test_long_bodies_are_answered_at_once_or_left_to_a_thread_but_answered_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(tmp_path, monkeypatch) as place, place.line() as line, place.line():
        ref = await trained(place.api)
        body = b'{"rows":[' + b",".join([b"[5.1,3.5,1.4,0.2]"] * 5_000) + b"]}"
        told = [said(await line.ask(request(ref, body))) for _ in range(2)]
        assert (place.direct, told[0][0]) == (1, 200)
        monkeypatch.setattr("service.api.desk.SMALL", 1_000)
        assert said(await line.ask(request(ref, body))) == told[0] == told[1]
        assert place.direct == 1
