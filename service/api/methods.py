"""Which methods an address has; HEAD, where a route has none of its own, is GET without the body (RFC 9110 9.3.2)."""

from __future__ import annotations

from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def offered(scope: Scope) -> list[str]:
    """The methods of an address, for `Allow`."""
    found: set[str] = set()
    for route in scope["app"].router.routes:
        if route.matches(scope)[0] is not Match.NONE:
            found |= route.methods
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers HEAD."""
    if any(route.matches(scope)[0] is Match.FULL for route in scope["app"].router.routes):
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
