"""Event streams: frames are sent as they come, and not made any more when the reader has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from contextlib import aclosing, suppress
from types import coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.direct import Pour
from service.api.frames import RETRY
from service.api.topics import Topics
from service.api.watch import Standings, Watch


class EventStream(Response):
    """Sends a generator's frames until it ends or the reader goes."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None] | None = None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _send(self, send: Send) -> None:
        if self._frames is not None:
            async with aclosing(self._frames) as frames:
                async for piece in frames:
                    await send(_body(piece))
        await send(_body(b"", more=False))


class WatchStream(EventStream):
    """Everything after the event `cursor`. Ends without `end` when the server leaves: the reader comes back.

    `found`: how all stand that the topics name.
    """

    def __init__(self, watch: Watch, topics: Topics, cursor: int, found: Standings) -> None:
        super().__init__()
        self._asked = topics, cursor, found
        self._watch = watch
        self._scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        await super().__call__(scope, receive, send)

    async def _send(self, send: Send) -> None:
        await send(_body(RETRY))
        topics, cursor, found = self._asked
        write, pour = (lambda frames: begun(send(_body(frames)))), Pour.of(self._scope)
        with self._watch.watching(topics, cursor, found, write, pour) as watcher:
            while not watcher.over:
                frames = await watcher.next()
                if frames:
                    await send(_body(frames))
        await super()._send(send)


def begun(work: Any) -> Awaitable[None] | None:
    """Runs a coroutine as far as it goes without waiting; what is left is returned, if anything is.

    Python 3.12 has this as eager tasks; a task for every frame would cost more than the frame.
    """
    try:
        waiting = work.send(None)
    except StopIteration:
        return None
    except Exception as error:
        return _raised(error)
    return _rest(work, waiting)


@coroutine
def _rest(work: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    with suppress(StopIteration):
        while True:
            try:
                yield waiting
            except BaseException as error:
                waiting = work.throw(error)
            else:
                waiting = work.send(None)


async def _raised(error: Exception) -> None:
    raise error


def _body(frames: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": frames, "more_body": more}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
