"""Predictions answered where their bytes arrive: the head of a request that was parsed once means the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import Scope

from service.api.ahead import Lines, RequestIds
from service.api.gate import Gatekeeper
from service.api.heads import Heads
from service.api.passes import Batch, Form, Kind, asked, usual
from service.clock import monotonic_s
from service.errors import ServiceError
from service.serving import SMALL, Registry, RowModel, Served
from service.storage import Histogram

_MOST_LINES = 4_096  # remembered
_LARGE = 1 << 16  # bytes of a body that gains nothing by company: numbers of JSON take five times as many as objects
_NUMBER = 8  # bytes of a number in JSON, about
_FULL = 256  # requests in a batch that takes no more


class Caller(Protocol):
    """A connection that waits for one answer."""

    def answer(self, headers: bytes, body: bytes) -> None:
        """Sends it."""

    def decline(self, request: bytes) -> None:
        """Has the framework answer the request."""


@dataclass(slots=True, eq=False)
class Asked(Batch):
    """A batch, and who asked each part with which bytes."""

    began_s: float = field(default_factory=monotonic_s)
    callers: list[tuple[Caller, bytes]] = field(default_factory=list)

    def portions(self, served: Served) -> Iterator[Asked]:
        """The batch as one, or cut in halves until a pass of each is small."""
        if len(self.parts) == 1 or self.work(served) <= SMALL:
            yield self
            return
        middle = len(self.parts) // 2
        for at in (slice(middle), slice(middle, None)):
            half = Asked(self.kind, self.parts[at], self.ids[at], self.names[at])
            half.began_s, half.callers = self.began_s, self.callers[at]
            yield from half.portions(served)


class Desk:
    """What all connections of a server share: the heads they have seen, and the requests of this turn of the loop."""

    def __init__(self, registry: Registry, timed: Mapping[str, Histogram], cap: int, keeper: Gatekeeper) -> None:
        self._registry, self._timed, self._cap = registry, timed, cap
        self._heads: Heads[Form] = Heads(keeper)
        self._open: dict[Kind, Asked] = {}
        self._said: dict[Lines, bytes] = {}
        self._ids = RequestIds()

    def learn(self, head: bytes, scope: Scope) -> None:
        """Remembers what the server has made of a head, if that is a usual prediction."""
        known = usual(scope, self._cap)
        if known is not None:
            self._heads.learn(head, scope, known[1], known[0])

    def take(self, request: bytes, caller: Caller, soon: Callable[[Callable[[], None]], object] | None) -> bool:
        """Whether the request is known and whole; then its caller hears in the next turn (`soon`), or at once."""
        known = self._heads.whole(request)
        if known is None:
            return False
        form, body = known
        if len(body) > _LARGE and not self._small(form, len(body)):
            return False
        question = asked(form, body)
        if question is None:
            return False
        kind = question.kind
        batch = self._open.get(kind)
        if batch is None:
            if not self._open and soon is not None:
                soon(self.answer)
            batch = self._open[kind] = Asked(kind)
        batch.add(question, self._ids.new())
        batch.callers.append((caller, request))
        if soon is None or len(batch.parts) == _FULL or len(body) > _LARGE:
            self.answer()
        return True

    def missing(self, request: bytes) -> int:
        """How many bytes of a known request are still to come."""
        return self._heads.missing(request)

    def answer(self) -> None:
        """Answers all who wait."""
        waiting, self._open = self._open, {}
        for batch in waiting.values():
            served = self._ready(batch.kind.ref)
            if served is None:
                self._tell(batch)
                continue
            for portion in batch.portions(served):
                if portion.work(served) <= SMALL:
                    portion.run(served)
                self._tell(portion)

    def _tell(self, batch: Asked) -> None:
        timed = self._timed["predict" if batch.kind.tensor is None else "infer"]
        answers: list[Any] = batch.answers or [None] * len(batch.parts)
        for at, ((caller, request), answer) in enumerate(zip(batch.callers, answers, strict=True)):
            if answer is None:
                caller.decline(request)
            else:
                told = len(answer), self._lines(batch.headers(at)), batch.ids[at]
                caller.answer(b"content-length: %d\r\n%sx-request-id: %s\r\n\r\n" % told, answer)
                timed.add(monotonic_s() - batch.began_s)

    def _lines(self, headers: Lines) -> bytes:
        """The headers as they are sent; there are few different ones."""
        found = self._said.get(headers)
        if found is None:
            if len(self._said) >= _MOST_LINES:
                self._said.clear()
            found = self._said[headers] = b"".join([b"%s: %s\r\n" % line for line in headers])
        return found

    def _small(self, form: Form, length: int) -> bool:
        """Whether the loop has time for what a long body asks, as far as its length tells."""
        served = self._ready(form.ref)
        if served is None or not isinstance(served.model, RowModel):
            return False
        row_bytes = (served.model.preprocessor.width or 1) * (_NUMBER if form.json else 4)
        return served.bytes * (length // row_bytes) <= SMALL

    def _ready(self, ref: str) -> Served | None:
        try:
            return self._registry.ready(ref)
        except ServiceError:
            return None
