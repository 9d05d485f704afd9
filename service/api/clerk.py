"""Points of a caller who is alone at the server: durable before the loop goes on, for nobody else waits meanwhile.

To hand them to a thread and to hear of it costs such a caller as much as the disk does. Whoever is not alone, and
whoever logs while another process writes or the disk is slow, takes the way of `ingest.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.types import Scope

from service.api.ahead import RequestIds
from service.api.desk import Caller
from service.api.gate import Gatekeeper
from service.api.heads import Heads
from service.api.ingest import Reader, Said, heard, usual
from service.api.ledger import AppendAll
from service.clock import monotonic_s
from service.errors import ServiceError

_LONGEST = 1 << 16  # bytes of a body
_SLOW_S, _REST_S = 0.1, 1.0  # after a commit that took so long, the loop makes none for a while
_LOG = logging.getLogger(__name__)


class Clerk:
    """`append_all` waits for nobody else who writes: it raises StorageBusy."""

    def __init__(self, append_all: AppendAll, cap: int, keeper: Gatekeeper) -> None:
        self._append_all, self._cap = append_all, cap
        self._heads: Heads[Reader] = Heads(keeper)
        self._ids = RequestIds()
        self._rests_until_s = float("-inf")

    def learn(self, head: bytes, scope: Scope) -> None:
        """Remembers what the server has made of a head, if points follow it as usual."""
        known = usual(scope, self._cap)
        if known is not None:
            self._heads.learn(head, scope, known[1], known[0])

    def take(self, request: bytes, caller: Caller, soon: Callable[[Callable[[], None]], object] | None) -> bool:
        """Whether the request is known and its points are durable now; its caller has heard. `soon`: not alone."""
        if soon is not None or monotonic_s() < self._rests_until_s:
            return False
        known = self._heads.whole(request)
        if known is None or len(known[1]) > _LONGEST:
            return False
        said = heard(*known)
        if said is None or not self._written(said):
            return False
        told = len(said.answer), self._ids.new()
        lines = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %s\r\n\r\n" % told
        caller.answer(lines, said.answer)
        return True

    def missing(self, request: bytes) -> int:
        """How many bytes of a known request are still to come."""
        return self._heads.missing(request)

    def _written(self, said: Said) -> bool:
        began_s = monotonic_s()
        try:
            (written,) = self._append_all([(said.run_id, said.points)])
        except ServiceError:
            return False
        except Exception:
            _LOG.exception("what a caller logged was not written at once")
            return False
        if monotonic_s() - began_s > _SLOW_S:
            self._rests_until_s = monotonic_s() + _REST_S
        return written
