"""The busiest path ahead of the framework: predictions in plain JSON or bytes, those that come together in one pass.

Whatever is not quite usual, and whatever is wrong, takes the documented route of `predict.py` with the same body: what
is answered here is answered there alike, and only there is anything refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from types import coroutine
from weakref import WeakValueDictionary

from anyio import to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.ahead import RequestIds, again, answer, whole
from service.api.desk import Desk
from service.api.gate import Gatekeeper
from service.api.passes import Batch, Kind, Question, asked, usual
from service.clock import monotonic_s
from service.errors import ServiceError
from service.serving import SMALL, Registry
from service.storage import Tally

_FULL = 256  # requests in a batch that takes no more


@dataclass(slots=True, eq=False)
class Shared(Batch):
    """A batch that may be answered in a thread."""

    ahead: asyncio.Task[None] | None = None


class Hot:
    """ASGI, in front of the app; it also times all predictions. `desk`: those that need no ASGI."""

    def __init__(self, app: ASGIApp, registry: Registry, tally: Tally, cap: int, keeper: Gatekeeper) -> None:
        self._app, self._registry, self._cap = app, registry, cap
        self._timed = {"predict": tally["predict"], "infer": tally["infer"], "completions": tally["completions"]}
        self._open: dict[Kind, Shared] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ids = RequestIds()
        self.desk = Desk(registry, self._timed, cap, keeper)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timed = self._timed.get(scope["path"].rpartition("/")[2]) if scope["type"] == "http" else None
        if timed is None:
            await self._app(scope, receive, send)
            return
        began_s = monotonic_s()
        await self._predict(scope, receive, send)
        timed.add(monotonic_s() - began_s)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = usual(scope, self._cap)
        if known is None:
            await self._app(scope, receive, send)
            return
        said, headers = known
        body = await whole(receive)
        if body is None:
            return
        question = asked(said, body)
        id_ = self._ids.of(headers)
        batch, at = (None, 0) if question is None else await self._shared(question, id_)
        found = None if batch is None or batch.answers is None else batch.answers[at]
        if batch is None or found is None:
            await self._app(scope, again(body, receive), send)
        else:
            await answer(send, id_, batch.headers(at), found)

    async def _shared(self, question: Question, request_id: bytes) -> tuple[Shared, int]:
        """A batch that is answered, with what else came in this turn of the loop, and the question's place in it."""
        kind = question.kind
        batch = self._open.get(kind)
        if batch is None:
            batch = self._open[kind] = Shared(kind)
        at = batch.add(question, request_id)
        if at + 1 == _FULL:
            del self._open[kind]
        await _turn()
        if batch.answers is None and batch.ahead is None:  # the first to come back
            self._begin(batch)
        if batch.ahead is not None:
            await asyncio.shield(batch.ahead)
        return batch, at

    def _begin(self, batch: Shared) -> None:
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

    async def _beside(self, batch: Shared) -> None:
        """The same in a thread, one pass of a model at a time: meanwhile the batch grows."""
        ref = batch.kind.ref
        async with self._turns.setdefault(ref, asyncio.Lock()):
            self._close(batch)
            try:
                await to_thread.run_sync(lambda: batch.run(self._registry.get(ref)))
            except ServiceError:
                batch.answers = [None] * len(batch.parts)

    def _close(self, batch: Shared) -> None:
        if self._open.get(batch.kind) is batch:
            del self._open[batch.kind]


@coroutine
def _turn() -> Generator[None, None, None]:
    """Lets every other request that is at hand go first."""
    yield
