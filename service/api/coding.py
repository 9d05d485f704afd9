"""Bodies that come packed (Content-Encoding), inflated piece by piece, within the limits of plain ones."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from service.errors import RequestError

ACCEPTED = "gzip, deflate"
_KNOWN = ("gzip", "x-gzip", "deflate")
_EITHER = 47  # zlib: the largest window, and the header tells gzip from deflate
_PIECE_BYTES = 1 << 16


class UnsupportedCoding(RequestError):  # noqa: N818 - named as its siblings in service.errors
    """The body is packed in a way that is not read here."""

    code = "unsupported_content_encoding"


class InvalidCoding(RequestError):  # noqa: N818
    """The body is not packed as it says."""

    code = "invalid_content_encoding"


def plain(scope: Scope, headers: Headers) -> bool:
    """Whether the body comes as it is. Raises UnsupportedCoding."""
    said = headers.get("content-encoding", "").strip().lower()
    if said in ("", "identity"):
        return True
    if said not in _KNOWN:
        raise UnsupportedCoding(f"cannot read {said[:40]!r} bodies", hint=f"Send them as they are, or as {ACCEPTED}.")
    told = (b"content-encoding", b"content-length")  # of what was packed
    scope["headers"] = [each for each in scope["headers"] if each[0] not in told]
    return False


class Inflated:
    """`receive` of a body that comes packed, in pieces of bounded size. Raises InvalidCoding when it is damaged."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._pieces, self._over = receive, _pieces(receive), False

    async def __call__(self) -> Message:
        if self._over:
            return await self._receive()
        piece = await anext(self._pieces, None)
        self._over = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not self._over}


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    inflater, begun, more = zlib.decompressobj(_EITHER), False, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        packed, more = message.get("body", b""), message.get("more_body", False)
        while packed:
            begun = True
            if inflater.eof:  # gzip may have several members, one behind the other
                inflater = zlib.decompressobj(_EITHER)
            yield _inflated(inflater, packed)
            packed = inflater.unconsumed_tail or inflater.unused_data
    while begun and not inflater.eof:
        piece = _inflated(inflater, b"")
        if not piece:
            raise _damaged("it ends too early")
        yield piece


def _inflated(inflater: zlib._Decompress, packed: bytes) -> bytes:
    try:
        return inflater.decompress(packed, _PIECE_BYTES)
    except zlib.error as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> InvalidCoding:
    return InvalidCoding(f"the body is not what Content-Encoding says: {why}")
