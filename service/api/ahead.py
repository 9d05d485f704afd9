"""What the ways ahead of the framework share: which requests are usual, their bodies, their ids, their answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from secrets import token_hex

from starlette.types import Message, Receive, Scope, Send

from service.api.door import request_id

Headers = dict[bytes, bytes]
Lines = tuple[tuple[bytes, bytes], ...]
JSON_LINES: Lines = ((b"content-type", b"application/json"),)
_UNUSUAL = {b"content-encoding", b"transfer-encoding"}


class RequestIds:
    """New ones, which nobody need guess: a word of the process, and a number."""

    def __init__(self) -> None:
        self._prefix, self._count = f"req_{token_hex(4)}".encode(), count()

    def new(self) -> bytes:
        return b"%s%08x" % (self._prefix, next(self._count) & 0xFFFFFFFF)

    def of(self, headers: Headers) -> bytes:
        """The caller's own, or a new one."""
        given = headers.get(b"x-request-id")
        return self.new() if given is None else request_id(given.decode("latin-1")).encode()


def sized(scope: Scope, cap: int) -> Headers | None:
    """The headers of a request whose body is of a known length and as it is, each there once."""
    if scope["method"] != "POST" or scope["query_string"]:
        return None
    listed: Sequence[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(listed)
    length = headers.get(b"content-length", b"")
    if len(headers) < len(listed) or not length.isdigit() or int(length) > cap or not _UNUSUAL.isdisjoint(headers):
        return None
    return headers


async def whole(receive: Receive) -> bytes | None:
    """The body; None when the caller has left."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body if message["type"] == "http.request" else None


def again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def answer(send: Send, request_id: bytes, lines: Lines, body: bytes) -> None:
    """With what `lines` say of the body, beside its length."""
    told = [(b"content-length", b"%d" % len(body)), *lines, (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    await send({"type": "http.response.body", "body": body})
