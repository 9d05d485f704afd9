"""Which methods an address has; HEAD, where a route has none of its own, is GET without the body (RFC 9110 9.3.2)."""

from __future__ import annotations

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def offered(scope: Scope) -> list[str]:
    """The methods of an address, for `Allow`. Each is tried: what is included in an included router has no list."""
    found = {method for method in _METHODS if _answers(scope, method)}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _answers(scope: Scope, method: str) -> bool:
    asked = {**scope, "method": method}
    return any(route.matches(asked)[0] is Match.FULL for route in scope["app"].router.routes)


async def head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers HEAD."""
    if _answers(scope, "HEAD"):
        await app(scope, receive, send)
        return
    over = False

    async def bodiless(message: Message) -> None:
        nonlocal over
        if message["type"] == "http.response.start":
            await send(message)
        elif not over:  # whoever streams learns from `receive` that nobody reads any more
            over = True
            await send({"type": "http.response.body", "body": b""})

    await app({**scope, "method": "GET"}, receive, bodiless)
