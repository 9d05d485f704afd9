"""Event streams: frames are sent as they come, and not made any more when the reader has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.frames import RETRY
from service.api.topics import Topics
from service.api.watch import Watch


async def told(watch: Watch, topics: Topics, cursor: int) -> AsyncGenerator[bytes, None]:
    """Everything after the event `cursor`. Ends without `end` when the server leaves: the reader comes back."""
    yield RETRY
    with watch.watching(topics, cursor) as watcher:
        while not watcher.over:
            yield await watcher.next()


class EventStream(Response):
    """Sends a generator's frames until it ends or the reader goes."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
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
        async with aclosing(self._frames) as frames:
            async for piece in frames:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
