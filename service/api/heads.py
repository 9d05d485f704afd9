"""Heads of requests that the server parsed once: the same bytes mean the same again."""

from __future__ import annotations

import re
from typing import Generic, NamedTuple, TypeVar

from starlette.types import Scope

from service.api.ahead import Headers
from service.api.gate import Gatekeeper
from service.errors import ServiceError

T = TypeVar("T")
_MOST, _LONGEST = 4_096, 2_048  # remembered, and bytes of one
_OTHERWISE = {b"expect", b"upgrade", b"x-request-id"}  # ask for more than an answer
_WAITED_FOR = 1 << 20  # bytes of a body that comes in pieces; for longer ones the framework reads as fast as it can


_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})(?=\r\n)", re.IGNORECASE)


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
        self._longest: dict[tuple[bytes, ...], Head[T]] = {}  # by all that is not the length

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
        self._keep(head, Head(meaning, int(headers[b"content-length"]), self._keeper.version()))

    def whole(self, request: bytes) -> tuple[T, bytes] | None:
        """What a request asks and its body; None when its head is not known, or it is not whole."""
        end = request.find(b"\r\n\r\n") + 4
        head = self._of(request[:end])
        if head is None or len(request) - end != head.length or head.version != self._keeper.version():
            return None
        return head.meaning, request[end:]

    def missing(self, request: bytes) -> int:
        """How many bytes of a known request are still to come; 0 when it is whole, unknown, or long."""
        end = request.find(b"\r\n\r\n") + 4
        head = self._of(request[:end])
        return 0 if head is None or head.length > _WAITED_FOR else max(0, head.length - (len(request) - end))

    def _keep(self, head: bytes, known: Head[T]) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
            self._longest.clear()
        self._known[head] = known
        others = _but_its_length(head)
        longest = None if others is None else self._longest.get(others[0])
        if others is not None and (longest is None or longest.length < known.length or longest.version < known.version):
            self._longest[others[0]] = known

    def _of(self, head: bytes) -> Head[T] | None:
        """One that differs by its length alone from one that was let in with a longer body means the same."""
        known = self._known.get(head)
        if known is not None or not self._longest:
            return known
        others = _but_its_length(head)
        longest = None if others is None else self._longest.get(others[0])
        if others is None or longest is None or others[1] > longest.length:
            return None
        known = longest._replace(length=others[1])
        self._keep(head, known)
        return known


def _but_its_length(head: bytes) -> tuple[tuple[bytes, ...], int] | None:
    """Everything else in it, and its length; None when it is not said once."""
    parts = _LENGTH.split(head)
    return ((parts[0], parts[2]), int(parts[1])) if len(parts) == 3 else None
