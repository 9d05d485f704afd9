"""The door every request passes: an id for it, a cap on its body, and the last word when something breaks."""

from __future__ import annotations

import logging
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import log
from service.api import coding, methods, mlflow_errors
from service.api.problems import INTERNAL, refuse, respond
from service.errors import TooLarge

UPLOADS = ("/v1/datasets", "/v1/runs/import")
PIECES = "/v1/uploads/"
PREDICTIONS = "/predict"
FILES = ("text/csv", "application/x-ndjson", "application/jsonl")  # are streamed to disk, as uploads are
_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Door:
    """Pure ASGI. A body is refused by its announced length before a byte is read, or as soon as it grows too long."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_upload_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = name
        with log.about(request_id=name):
            await _Visit(scope, receive, send, name, self._cap(scope["path"], headers)).through(self.app, headers)

    def _cap(self, path: str, headers: Headers) -> int:
        file = path.endswith(PREDICTIONS) and headers.get("content-type", "").partition(";")[0].strip().lower() in FILES
        return self.max_upload_bytes if path in UPLOADS or path.startswith(PIECES) or file else self.max_body_bytes


class _Visit:
    """One request and its answer on the way through the door."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str, cap: int) -> None:
        self.scope = scope
        self.request_id = request_id
        self.cap = cap
        self.started = False
        self._receive = receive
        self._send = send

    async def through(self, app: ASGIApp, headers: Headers) -> None:
        try:
            length = headers.get("content-length", "0")
            if length.isdecimal() and int(length) > self.cap:
                raise self._too_large()
            receive = self._capped(self._receive)
            if not coding.plain(self.scope, headers):
                receive = self._capped(coding.Inflated(receive))
            if self.scope["method"] == "HEAD":
                await methods.head(app, self.scope, receive, self.send)
            else:
                await app(self.scope, receive, self.send)
        except ClientDisconnect:
            _LOG.debug("the caller left before the request was read")
        except (TooLarge, coding.UnsupportedCoding) as error:
            await refuse(error, self.scope["path"], self.request_id)(self.scope, self._receive, self.send)
        except Exception:
            _LOG.exception("%s %s broke", self.scope["method"], self.scope["path"])
            if self.started:
                raise  # the answer is half out: let the server cut the connection, so that nobody takes it for whole
            await respond(INTERNAL, self.scope["path"], self.request_id)(self.scope, self._receive, self.send)

    def _capped(self, receive: Receive) -> Receive:
        """Raises TooLarge as soon as more has come than may."""
        read_bytes = 0

        async def capped() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self.cap:
                raise self._too_large()
            return message

        return capped

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        await self._send(message)

    def _too_large(self) -> TooLarge:
        path: str = self.scope["path"]
        hint = "Upload the rows as a data set and name its id"
        if path.endswith("/metrics") or path.startswith(mlflow_errors.PREFIXES):
            hint = "Send fewer points at a time"
        hint = f"{hint}; or the operator raises NETWRIGHT_MAX_BODY_BYTES."
        if path in UPLOADS or path.startswith(PIECES):
            hint = "The operator's NETWRIGHT_MAX_UPLOAD_BYTES decides."
        return TooLarge(f"the body is larger than {self.cap:,} bytes", hint=hint)


def request_id(given: str | None) -> str:
    """The caller's own when it is in order, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_hex(8)}"
