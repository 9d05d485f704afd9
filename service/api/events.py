"""Events of jobs and runs: a page, a page that waits, or a stream that goes on where it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context, Here
from service.api.frames import News
from service.api.replies import refuses
from service.api.stream import WatchStream
from service.api.topics import Topics
from service.api.views.base import ListView
from service.api.views.job import EventView
from service.api.watch import Standings
from service.errors import Fault, InvalidSpec, NotFound
from service.storage import FINAL

router = APIRouter(prefix="/v1", tags=["events"])
_STREAM: dict[str, Any] = {
    "description": "A page; with `Accept: text/event-stream` the events as they happen, ended by the event `end`",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_REFUSES = refuses(NotFound, also={200: _STREAM})
_Id = Annotated[str, StringConstraints(max_length=100)]
LastEventId = Annotated[str | None, Header(max_length=30, description="Goes on after this event.")]


class EventsQuery(BaseModel):
    """Which events, and how long to wait for the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Query(ge=0, lt=1 << 62, description="The id of the last event known.")] = 0
    limit: Annotated[int, Query(ge=1, le=1000)] = 100
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for an event, when there is none.")] = 0.0


class ManyEventsQuery(EventsQuery):
    """The same, of the jobs and runs that are named."""

    job: Annotated[list[_Id], Query(max_length=200, description="A job; may be given several times.")] = []
    run: Annotated[list[_Id], Query(max_length=200, description="A run; may be given several times.")] = []


@router.get("/jobs/{job_id}/events", response_model=ListView[EventView], responses=_REFUSES)
async def job_events(
    request: Request, here: Here, job_id: str, query: Annotated[EventsQuery, Query()], last_event_id: LastEventId = None
) -> Response:
    """What happened to a job, oldest first. Nothing is missed between two answers: `next`, or the last id, goes on."""
    return await _answer(request, here, Topics(jobs=(job_id,)), query, last_event_id)


@router.get("/events", response_model=ListView[EventView], responses=_REFUSES)
async def events(
    request: Request, here: Here, query: Annotated[ManyEventsQuery, Query()], last_event_id: LastEventId = None
) -> Response:
    """What happened to several jobs and runs, in one page or one stream; to all of them when none is named.

    A stream ends when everything named has ended; then `end` tells how. Of everything, it goes on.
    """
    topics = Topics(tuple(dict.fromkeys(query.job)), tuple(dict.fromkeys(query.run)))
    return await _answer(request, here, topics, query, last_event_id)


async def _answer(request: Request, here: Context, topics: Topics, query: EventsQuery, last: str | None) -> Response:
    found: Standings = {**here.store.events.standings(topics.jobs, topics.runs)} if topics.every else {}
    for name in topics.every:
        if name not in found:
            what = "job" if name in topics.jobs else "run"
            raise NotFound(f"no {what} {name}", hint=f"GET /v1/{what}s lists what there is.")
    if "text/event-stream" in request.headers.get("accept", ""):
        return WatchStream(here.watch, topics, _last(last, query.after), found)
    ended = bool(found) and all(each is not None and each.status in FINAL for each in found.values())
    news = await _page(here, topics, query, 0.0 if ended else query.wait)
    data = b",".join([each.json for each in news])
    more = b"true" if len(news) == query.limit else b"false"
    body = b'{"data":[%s],"has_more":%s,"next":"%d"}' % (data, more, news[-1].id if news else query.after)
    return Response(body, media_type="application/json")


def _last(header: str | None, query: int) -> int:
    """Where a stream goes on. Raises InvalidSpec for what is no event's id."""
    if header is None or not header.strip():
        return query
    if not header.isdecimal() or len(header) > 18:
        message = f"{header[:30]!r} is no event's id"
        raise InvalidSpec(message, faults=[Fault("/header/last-event-id", "invalid_value", message)])
    return int(header)


async def _page(here: Context, topics: Topics, query: EventsQuery, wait_s: float) -> Sequence[News]:
    news = here.watch.after(query.after, topics, query.limit)
    if news or not wait_s or here.watch.closed:
        return news
    with here.watch.watching(topics, query.after) as watcher, suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await watcher.news()
    return here.watch.after(query.after, topics, query.limit)
