"""The gate before every way in: with keys, nobody comes in without one that goes so far (decision 0016).

It also counts, where a caller may ask only so often.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.ahead import Headers
from service.api.door import request_id
from service.api.problems import refuse
from service.api.rate import Rate
from service.clock import monotonic_s
from service.errors import Forbidden, ServiceError, Unauthorized
from service.storage import Held, Keys, KeyScope, digest

FRESH_S = 1.0  # so long a revoked key may still open
STREAM_S = 5.0  # so long a stream goes on that it had opened
COOKIE = "netwright_key"
OPEN = ("/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
PAGE = "/web/"
RANK: Mapping[KeyScope, int] = {"read": 0, "submit": 1, "admin": 2}
_QUESTION = re.compile(  # what is asked by POST and leaves nothing behind
    r"/v1/(completions|suggestions|scores|plans|metrics/query|runs/compare|specs/import)"
    r"|/v1/models/[^/]+/(predict|predictions|attributions)"
    r"|/v2/(repository/index|models/.+/infer)"
    r"|/(api|ajax-api)/.+/search"
)
_GRAVE = re.compile(r"/v1/keys(/.*)?|/(api|ajax-api)/.+/delete(-tag)?")
_HARMLESS = ("GET", "HEAD")


def needed(method: str, path: str) -> KeyScope | None:
    """What a key must allow for this; None where nobody needs one."""
    if method in _HARMLESS and (path in OPEN or path.startswith(PAGE)):
        return None
    if _GRAVE.fullmatch(path) or (method == "DELETE" and not path.startswith("/v1/uploads/")):
        return "admin"
    return "read" if method in _HARMLESS or (method == "POST" and _QUESTION.fullmatch(path)) else "submit"


class Gatekeeper:
    """What is known of the keys, looked up anew when it is older than a second; and how often each caller came."""

    def __init__(self, keys: Keys, per_s: float = 0.0) -> None:
        self._keys, self._rate = keys, Rate(per_s)
        self._held: tuple[Held, ...] | None = None
        self._version, self._until_s = 0, float("-inf")

    def version(self) -> int:
        """Another number after any change of the keys: what was let in before it is to be looked at again."""
        now_s = monotonic_s()
        if now_s >= self._until_s:
            held = self._keys.held()
            if held != self._held:
                self._held, self._version = held, self._version + 1
            self._until_s = now_s + FRESH_S
        return self._version

    @property
    def counts(self) -> bool:
        """Whether every single request must pass here."""
        return self._rate.per_s > 0

    def admit(self, scope: Scope) -> None:
        """One request more. Raises Unauthorized, Forbidden, RateExceeded."""
        wanted = needed(scope["method"], scope["path"])
        if wanted is not None:
            self._rate.take(self._known(scope, wanted) or str((scope.get("client") or ("",))[0]))

    def check(self, scope: Scope) -> None:
        """The same without counting it. Raises Unauthorized and Forbidden."""
        wanted = needed(scope["method"], scope["path"])
        if wanted is not None:
            self._known(scope, wanted)

    def _known(self, scope: Scope, wanted: KeyScope) -> str | None:
        """The hash of the key shown, None where nobody needs one."""
        self.version()
        if self._held is None:
            return None
        shown = _shown(dict(scope["headers"]), scope["method"])
        if shown is None:
            raise Unauthorized("this server wants a key", hint="Send it as Authorization: Bearer nw_...")
        sha256 = digest(shown)
        allowed = self._allowed(sha256)
        if allowed is None:
            raise Unauthorized("this key opens nothing here: unknown, expired or revoked")
        if RANK[allowed] < RANK[wanted]:
            raise Forbidden(f"this needs a key of scope {wanted}; this one's is {allowed}")
        return sha256

    def _allowed(self, sha256: str) -> KeyScope | None:
        """Every key is compared, each in the time that any other takes."""
        found: KeyScope | None = None
        for each in self._held or ():
            if hmac.compare_digest(each.sha256, sha256):
                found = each.scope
        return found


class Gate:
    """ASGI, in front of all."""

    def __init__(self, app: ASGIApp, keeper: Gatekeeper) -> None:
        self._app, self._keeper = app, keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._keeper.admit(scope)
            except ServiceError as error:
                await _refuse(error, scope, receive, send)
                return
            if b"text/event-stream" in dict(scope["headers"]).get(b"accept", b""):
                await self._stream(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer that may go on for days: to the app, whose key opens nothing any more is a reader who has gone."""
        shut, version = False, self._keeper.version()

        async def received() -> Message:
            nonlocal shut, version
            waiting = asyncio.ensure_future(receive())
            try:
                while not (await asyncio.wait({waiting}, timeout=STREAM_S))[0]:
                    if version != (version := self._keeper.version()) and not self._may(scope):
                        shut = True
                        return {"type": "http.disconnect"}
                return waiting.result()
            finally:
                waiting.cancel()

        await self._app(scope, received, send)
        if shut:
            with suppress(RuntimeError):  # it had come to its end by itself
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _may(self, scope: Scope) -> bool:
        try:
            self._keeper.check(scope)
        except ServiceError:
            return False
        return True


async def _refuse(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    given = dict(scope["headers"]).get(b"x-request-id")
    name = request_id(None if given is None else given.decode("latin-1"))
    answer = refuse(error, scope["path"], name)
    answer.headers["X-Request-Id"] = name
    await answer(scope, receive, send)


def _shown(headers: Headers, method: str) -> str | None:
    """The key of the header; for what changes nothing also that of the page's cookie, as links have no headers."""
    kind, _, words = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer" and words.strip():
        return words.strip()
    if method not in _HARMLESS or b"cookie" not in headers:
        return None
    try:
        found = SimpleCookie(headers[b"cookie"].decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
