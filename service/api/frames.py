"""Server-sent events as bytes, made once however many read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.api.replies import encode
from service.api.views.job import EventView
from service.storage import Event, Standing

RETRY: Final = b"retry: 1000\n\n"  # milliseconds until a browser comes back
ALIVE: Final = b": still here\n\n"


class News:
    """An event of the store, as JSON and as a frame."""

    __slots__ = ("event", "frame", "id", "json")

    def __init__(self, event: Event) -> None:
        self.id, self.event = event.id, event
        self.json = encode({name: getattr(event, name) for name in EventView.model_fields})
        self.frame = frame(event.kind, self.json, event.id)


def frame(kind: str, data: bytes, number: int | None = None) -> bytes:
    """One server-sent event; JSON never holds a line break, so that one data line is enough."""
    head = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode(), data)


def progress_frame(topic: str, standing: Standing) -> bytes:
    """How far a job or a run is; no event, so that it has no id."""
    data = {"status": standing.status, "phase": standing.phase, "progress": standing.progress, "eta_s": standing.eta_s}
    return frame("progress", encode({"kind": "progress", **_named(topic), "data": data}))


def end_frame(ends: Mapping[str, str]) -> bytes:
    """The last word of a stream: how each job or run it told of has ended."""
    if len(ends) == 1:
        ((topic, status),) = ends.items()
        return frame("end", encode({"kind": "end", **_named(topic), "data": {"status": status}}))
    return frame("end", encode({"kind": "end", "data": {"statuses": dict(ends)}}))


def _named(topic: str) -> dict[str, Any]:
    return {"job_id" if topic.startswith("job_") else "run_id": topic}
