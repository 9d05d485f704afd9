"""The busiest path ahead of the framework: predictions in plain JSON or bytes, those that come together in one pass.

Whatever is not quite usual, and whatever is wrong, takes the documented route of `predict.py` with the same body: what
is answered here is answered there alike, and only there is anything refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from types import coroutine
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from anyio import to_thread
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.bulk import MODEL_HEADER
from service.api.door import request_id
from service.api.predict import MAX_ROWS, MAX_TOP_K, RAW_TYPE
from service.clock import monotonic_s
from service.errors import ServiceError
from service.serving import SMALL, Registry, RowModel, Served, answers, to_raw, together
from service.storage import Tally
from service.tensors import Array

_BEFORE, _AFTER = "/v1/models/", "/predict"
_RAW = RAW_TYPE.encode()
_TYPES = {b"application/json": True, b"application/json; charset=utf-8": True, _RAW: False}  # whether it is JSON
_ACCEPTS = {b"": False, b"*/*": False, b"application/json": False, _RAW: True}  # whether bytes are asked for
_UNUSUAL = {b"content-encoding", b"transfer-encoding"}
_FIELDS = {"rows", "top_k"}
_MODEL_HEADER = MODEL_HEADER.lower().encode()
_FULL = 256  # requests in a batch that takes no more
_LOG = logging.getLogger(__name__)
Headers = dict[bytes, bytes]


class Kind(NamedTuple):
    """What requests must have in common to share a pass: no true, false or null (`plain`), bytes asked for (`raw`)."""

    ref: str
    json: bool
    plain: bool
    top_k: int | None
    raw: bool


@dataclass(slots=True, eq=False)
class Batch:
    """Requests of a kind that came in one turn of the loop, or while the pass before them ran."""

    kind: Kind
    parts: list[Any] = field(default_factory=list)
    answers: list[bytes | None] | None = None
    model: bytes = b""
    ahead: asyncio.Task[None] | None = None

    def work(self, served: Served) -> int:
        """Bytes of weights times rows, about."""
        model = served.model
        width = (model.preprocessor.width or 1) if isinstance(model, RowModel) else 1
        return served.bytes * sum(map(len, self.parts)) // (1 if self.kind.json else 4 * width)

    def run(self, served: Served) -> None:
        """Answers every part; what is not for a network, or does not fit, stays None."""
        self.answers, model = [None] * len(self.parts), served.model
        if not isinstance(model, RowModel):
            return
        try:
            y, places = together(model, self.parts, self.kind.plain)
            self.model = served.id.encode()
            if len(y):
                self.answers = list(self._written(model, y, places, served.id))
        except Exception:
            _LOG.exception("a pass of %s broke; its requests are answered one by one", served.id)

    def _written(self, model: RowModel, y: Array, places: list[slice | None], name: str) -> Iterator[bytes | None]:
        if self.kind.raw:
            data = to_raw(model, y)
            size = len(data) // len(y)
            for at in places:
                yield None if at is None else data[at.start * size : at.stop * size]
        else:
            found, head = answers(model, y, self.kind.top_k), b'{"model":' + to_json(name) + b',"predictions":'
            for at in places:
                yield None if at is None else head + to_json(found[at], inf_nan_mode="null") + b"}"


class Hot:
    """ASGI, in front of the app; it also times all predictions. `cap`: bytes of the largest body."""

    def __init__(self, app: ASGIApp, registry: Registry, tally: Tally, cap: int) -> None:
        self._app, self._registry, self._cap = app, registry, cap
        self._timed = {"predict": tally["predict"], "infer": tally["infer"], "completions": tally["completions"]}
        self._open: dict[Kind, Batch] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._prefix, self._count = f"req_{token_hex(4)}".encode(), count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timed = self._timed.get(scope["path"].rpartition("/")[2]) if scope["type"] == "http" else None
        if timed is None:
            await self._app(scope, receive, send)
            return
        began_s = monotonic_s()
        await self._predict(scope, receive, send)
        timed.add(monotonic_s() - began_s)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _usual(scope, self._cap)
        if headers is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
        if message["type"] != "http.request":
            return  # the caller has left
        asked = _asked(scope["path"], headers, body)
        batch, answer = (None, None) if asked is None else await self._shared(*asked)
        if batch is None or answer is None:
            await self._app(scope, _again(body, receive), send)
            return
        told = [(b"content-length", b"%d" % len(answer)), (b"x-request-id", self._request_id(headers))]
        if batch.kind.raw:
            told += [(b"content-type", _RAW), (_MODEL_HEADER, batch.model)]
        else:
            told.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": answer})

    def _request_id(self, headers: Headers) -> bytes:
        given = headers.get(b"x-request-id")
        if given is not None:
            return request_id(given.decode("latin-1")).encode()
        return b"%s%08x" % (self._prefix, next(self._count) & 0xFFFFFFFF)

    async def _shared(self, kind: Kind, part: Any) -> tuple[Batch, bytes | None]:
        """The answer to a part, in a batch with what else comes in this turn of the loop."""
        batch = self._open.get(kind)
        if batch is None:
            batch = self._open[kind] = Batch(kind)
        at = len(batch.parts)
        batch.parts.append(part)
        if at + 1 == _FULL:
            del self._open[kind]
        await _turn()
        if batch.answers is None and batch.ahead is None:  # the first to come back
            self._begin(batch)
        if batch.ahead is not None:
            await asyncio.shield(batch.ahead)
        return batch, batch.answers[at] if batch.answers else None

    def _begin(self, batch: Batch) -> None:
        try:
            served = self._registry.ready(batch.kind.ref)
        except ServiceError:
            self._close(batch)
            batch.answers = [None] * len(batch.parts)
            return
        if served is not None and batch.work(served) <= SMALL:
            self._close(batch)
            batch.run(served)
        else:
            batch.ahead = asyncio.create_task(self._beside(batch))

    async def _beside(self, batch: Batch) -> None:
        """The same in a thread, one pass of a model at a time: meanwhile the batch grows."""
        ref = batch.kind.ref
        async with self._turns.setdefault(ref, asyncio.Lock()):
            self._close(batch)
            try:
                await to_thread.run_sync(lambda: batch.run(self._registry.get(ref)))
            except ServiceError:
                batch.answers = [None] * len(batch.parts)

    def _close(self, batch: Batch) -> None:
        if self._open.get(batch.kind) is batch:
            del self._open[batch.kind]


@coroutine
def _turn() -> Generator[None, None, None]:
    """Lets every other request that is at hand go first."""
    yield


def _usual(scope: Scope, cap: int) -> Headers | None:
    """The headers of a request that can be answered here, by what stands before its body."""
    if scope["method"] != "POST" or scope["query_string"]:
        return None
    path: str = scope["path"]
    if not (path.startswith(_BEFORE) and path.endswith(_AFTER)):
        return None
    listed: Sequence[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(listed)
    length = headers.get(b"content-length", b"")
    if len(headers) < len(listed) or not length.isdigit() or int(length) > cap or not _UNUSUAL.isdisjoint(headers):
        return None
    if headers.get(b"content-type") not in _TYPES or headers.get(b"accept", b"") not in _ACCEPTS:
        return None
    return headers


def _asked(path: str, headers: Headers, body: bytes) -> tuple[Kind, Any] | None:
    """What a body asks for, and its rows."""
    ref, raw = path[len(_BEFORE) : -len(_AFTER)], _ACCEPTS[headers.get(b"accept", b"")]
    if "/" in ref:
        return None
    if not _TYPES[headers[b"content-type"]]:
        return Kind(ref, False, True, None, raw), body
    try:
        found = from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None
    if type(found) is not dict or not found.keys() <= _FIELDS:
        return None
    rows, top_k = found.get("rows"), found.get("top_k")
    if type(rows) is not list or not 0 < len(rows) <= MAX_ROWS:
        return None
    if top_k is not None and not (type(top_k) is int and 1 <= top_k <= MAX_TOP_K):
        return None
    plain = b"u" not in body and b"l" not in body  # true, null; false, null
    return Kind(ref, True, plain, top_k, raw), rows


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
