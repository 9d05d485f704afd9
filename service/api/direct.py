"""uvicorn's HTTP protocol, where known requests are answered before they become requests of the framework."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.clerk import Clerk
from service.api.desk import Desk
from service.clock import monotonic_s

_CYCLE = "netwright.cycle"  # in a scope's extensions: the request as uvicorn has it
_AGAIN_S = 0.1
_LINGER_S = 0.00005
_PREDICTS = (b"POST /v1/models/", b"POST /v2/models/")
_LOGS = (b"POST /v1/runs/", b"POST /api/2.0/mlflow/runs/log-")


class Direct(HttpToolsProtocol):
    """A connection. Between two requests, one that is known goes to the desk of `config.app.hot`, or to the clerk of
    `config.app`, when it is whole.

    Everything else is uvicorn's, and so is what these decline: the same bytes, as if they had just come.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        app: Any = self.config.app
        self._desk: Desk = app.hot.desk
        self._clerk: Clerk = app.clerk
        self._between, self._waits, self._answered_s = True, False, 0.0
        self._until_s = 0.0
        self._pieces: list[bytes] = []  # of a known request that is not whole yet
        self._missing = 0

    def data_received(self, data: bytes) -> None:
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = self._joined()
        if self._waits:  # not for the answer to what it asked before: that comes first
            self._desk.answer()
        cycle: RequestResponseCycle | None = self.cycle
        idle = self._between and (cycle is None or cycle.response_complete)
        taker = self._taker(data) if idle and not self.flow.write_paused else None
        if taker is None:
            super().data_received(data)
            return
        self._waits = True
        soon = self.loop.call_soon if len(self.connections) > 1 else None  # nobody else can come meanwhile
        if taker.take(data, self, soon):
            if soon is None:
                self._until_s = monotonic_s() + _LINGER_S
                self.loop.call_soon(self._linger)
            return
        self._waits = False
        self._missing = taker.missing(data)
        if self._missing > 0:  # many clients send the head, then the body
            self._pieces.append(data)
            return
        super().data_received(data)
        if self.cycle is not cycle and self.cycle.keep_alive:
            self._learn(data, taker)

    def _taker(self, data: bytes) -> Desk | Clerk | None:
        """Who may know such a request."""
        if data.startswith(_PREDICTS):
            return self._desk
        return self._clerk if data.startswith(_LOGS) else None

    def _linger(self) -> None:
        """Keeps the loop looking for a moment: waking up costs a lone caller more than a prediction does."""
        if monotonic_s() < self._until_s:
            self.loop.call_soon(self._linger)

    def _joined(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def _learn(self, data: bytes, taker: Desk | Clerk) -> None:
        """The head at the beginning of `data`, when what follows is of its body alone."""
        head, _, body = data.partition(b"\r\n\r\n")
        if len(body) == len(self.cycle.body):
            scope: Any = self.scope
            taker.learn(head + b"\r\n\r\n", scope)

    def answer(self, headers: bytes, body: bytes) -> None:
        """Sends what was asked for."""
        self._waits = False
        if self.transport.is_closing():
            return
        lines = [b"HTTP/1.1 200 OK\r\n"]
        for name, value in self.server_state.default_headers:
            lines += [name, b": ", value, b"\r\n"]
        lines += [headers, body]
        self.transport.write(b"".join(lines))
        self.server_state.total_requests += 1
        self._answered_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_after(self.timeout_keep_alive)

    def decline(self, request: bytes) -> None:
        """Lets the framework answer."""
        self._waits = False
        if not self.transport.is_closing():
            super().data_received(request)

    def timeout_keep_alive_handler(self) -> None:
        """One timer for many answers: it looks when the last one was, instead of being set anew by each."""
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if self._waits or self._pieces or left_s > 0:
            self._close_after(max(left_s, _AGAIN_S))
        else:
            super().timeout_keep_alive_handler()

    def _close_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        self._between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope["extensions"] = {_CYCLE: {"cycle": self.cycle}}

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._between = True

    def eof_received(self) -> None:
        """A caller that will send no more may never have sent what became a request of the framework."""
        if self.cycle is not None:
            super().eof_received()

    def shutdown(self) -> None:
        """Who waits is answered before the server leaves, and who has begun may end."""
        if self._waits:
            self._desk.answer()
        if self._pieces:
            super().data_received(self._joined())
        super().shutdown()


class Pour:
    """Sends pieces of a stream whose head is out straight to the connection; each is a chunk of HTTP/1.1.

    False: this one is for the framework's `send`, which waits until the connection takes more, or knows it is gone.
    """

    __slots__ = ("_cycle", "_flow", "_write")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._flow, self._write = cycle, cycle.flow, cycle.transport.write

    @classmethod
    def of(cls, scope: Scope) -> Pour | None:
        """None when the answer goes elsewhere than through `Direct`, or not in chunks."""
        cycle: RequestResponseCycle | None = scope.get("extensions", {}).get(_CYCLE, {}).get("cycle")
        return cls(cycle) if cycle is not None and cycle.chunked_encoding else None

    def __call__(self, piece: bytes) -> bool:
        if self._flow.write_paused or self._cycle.disconnected:
            return False
        self._write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True
