"""Events of a job: a page, a page that waits, or a stream that goes on where it broke."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.context import Context, Here
from service.api.replies import encode, refuses, reply
from service.api.views.base import ListView
from service.api.views.job import EventView
from service.errors import Fault, InvalidSpec, NotFound
from service.storage import FINAL, Event

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
KEEP_ALIVE_S = 15.0
PROGRESS_S = 0.25  # at most so often is progress told, which is no event
_PAGE = 1000
_STREAM: dict[str, Any] = {
    "description": "A page; with `Accept: text/event-stream` the events as they happen, ended by the event `end`",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class EventsQuery(BaseModel):
    """Which events, and how long to wait for the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Query(ge=0, lt=1 << 62, description="The id of the last event known.")] = 0
    limit: Annotated[int, Query(ge=1, le=_PAGE)] = 100
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for an event, when there is none.")] = 0.0


@router.get(
    "/{job_id}/events", response_model=ListView[EventView], responses=refuses(NotFound, also={200: _STREAM}),
)  # fmt: skip
async def job_events(
    request: Request, here: Here, job_id: str, query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=30, description="Goes on after this event.")] = None,
) -> Response:  # fmt: skip
    """What happened to a job, oldest first. Nothing is missed between two answers: `next`, or the last id, goes on."""
    here.store.jobs.get(job_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventStream(_JobStream(here, job_id, _last(last_event_id, query.after)).frames())
    found = await _page(here, job_id, query)
    last = found[-1].id if found else query.after
    return reply({"data": [_view(each) for each in found], "has_more": len(found) == query.limit, "next": str(last)})


def _last(header: str | None, query: int) -> int:
    """Where a stream goes on. Raises InvalidSpec for what is no event's id."""
    if header is None or not header.strip():
        return query
    if not header.isdecimal() or len(header) > 18:
        message = f"{header[:30]!r} is no event's id"
        raise InvalidSpec(message, faults=[Fault("/header/last-event-id", "invalid_value", message)])
    return int(header)


async def _page(here: Context, job_id: str, query: EventsQuery) -> tuple[Event, ...]:
    until = time.monotonic() + query.wait
    while True:
        seen = here.watch.version()
        ended = here.store.jobs.get(job_id).status in FINAL
        found = here.store.events.after(query.after, job_id=job_id, limit=query.limit)
        left = until - time.monotonic()
        if found or ended or left <= 0 or here.watch.closed:
            return found
        await here.watch.changed(seen, left)


def _view(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in EventView.model_fields}


@dataclass(slots=True)
class _JobStream:
    """The frames of one job's stream: events with their ids, progress between them without, the event `end` at last."""

    here: Context
    job_id: str
    cursor: int
    told: dict[str, Any] | None = None
    told_version: int = -1
    due_at: float = 0.0
    spoke_at: float = field(default_factory=time.monotonic)

    async def frames(self) -> AsyncIterator[bytes]:
        """Ends without `end` when the server leaves: the caller comes back and goes on."""
        yield b"retry: 1000\n\n"
        while not self.here.watch.closed:
            seen, now = self.here.watch.version(), time.monotonic()
            found = self.here.store.events.after(self.cursor, job_id=self.job_id, limit=_PAGE)
            for event in found:
                yield frame(event.kind, _view(event), event.id)
            if found:
                self.cursor, self.spoke_at, self.due_at = found[-1].id, now, now
                continue
            if now >= self.due_at and seen != self.told_version:
                self.told_version, self.due_at = seen, now + PROGRESS_S
                news, ended = self._progress(now)
                yield news
                if ended:
                    return
            if now - self.spoke_at >= KEEP_ALIVE_S:
                self.spoke_at = now
                yield b": still here\n\n"
            pause = KEEP_ALIVE_S if seen == self.told_version else max(self.due_at - now, 0.001)
            await self.here.watch.changed(seen, pause)

    def _progress(self, now: float) -> tuple[bytes, bool]:
        """How far the job is, if that is news, and whether it has ended and all was told."""
        try:
            job = self.here.store.jobs.get(self.job_id)
        except NotFound:
            return self._frame("end", {"status": "deleted"}), True
        progress = {"status": job.status, "phase": job.phase, "progress": job.progress, "eta_s": job.eta_s}
        news = b"" if progress == self.told else self._frame("progress", progress)
        if news:
            self.told, self.spoke_at = progress, now
        ended = job.status in FINAL and not self.here.store.events.after(self.cursor, job_id=self.job_id, limit=1)
        return news + (self._frame("end", {"status": job.status}) if ended else b""), ended

    def _frame(self, kind: str, data: dict[str, Any]) -> bytes:
        return frame(kind, {"kind": kind, "job_id": self.job_id, "data": data})


def frame(kind: str, data: Any, number: int | None = None) -> bytes:
    """One server-sent event; JSON never holds a line break, so that one data line is enough."""
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: " + kind.encode() + b"\ndata: " + encode(data) + b"\n\n"


class EventStream(Response):
    """Sends frames as they come, and stops making them when the caller has gone."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
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
        async for piece in self._frames:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
