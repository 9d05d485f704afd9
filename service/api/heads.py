"""Heads of requests that the server parsed once: the same bytes mean the same again."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from starlette.types import Scope

from service.api.ahead import Headers
from service.api.gate import Gatekeeper
from service.errors import ServiceError

T = TypeVar("T")
_MOST, _LONGEST = 4_096, 2_048  # remembered, and bytes of one
_OTHERWISE = {b"expect", b"upgrade", b"x-request-id"}  # ask for more than an answer
_WAITED_FOR = 1 << 20  # bytes of a body that comes in pieces; for longer ones the framework reads as fast as it can


class Head(NamedTuple, Generic[T]):
    """A request's head, understood: what it asks, how many bytes of body follow, and by which keys it was let in."""

    meaning: T
    length: int
    version: int


class Heads(Generic[T]):
    """What all connections of a server have heard and may hear again."""

    def __init__(self, keeper: Gatekeeper) -> None:
        self._keeper = keeper
        self._known: dict[bytes, Head[T]] = {}

    def learn(self, head: bytes, scope: Scope, headers: Headers, meaning: T) -> None:
        """Remembers what the server has made of a head, if it asks nothing unusual and who sends it may."""
        if len(head) > _LONGEST or scope["http_version"] != "1.1" or self._keeper.counts:
            return
        if not _OTHERWISE.isdisjoint(headers):
            return
        try:
            self._keeper.check(scope)
        except ServiceError:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[head] = Head(meaning, int(headers[b"content-length"]), self._keeper.version())

    def whole(self, request: bytes) -> tuple[T, bytes] | None:
        """What a request asks and its body; None when its head is not known, or it is not whole."""
        end = request.find(b"\r\n\r\n") + 4
        head = self._known.get(request[:end])
        if head is None or len(request) - end != head.length or head.version != self._keeper.version():
            return None
        return head.meaning, request[end:]

    def missing(self, request: bytes) -> int:
        """How many bytes of a known request are still to come; 0 when it is whole, unknown, or long."""
        end = request.find(b"\r\n\r\n") + 4
        head = self._known.get(request[:end])
        return 0 if head is None or head.length > _WAITED_FOR else max(0, head.length - (len(request) - end))
