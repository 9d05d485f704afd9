"""How many requests a second one caller may make: a bucket of tokens each, filled as time goes by."""

from __future__ import annotations

import math

from service.clock import monotonic_s
from service.errors import RateExceeded

_MOST = 10_000  # callers remembered; who is forgotten begins with a full bucket


class Rate:
    """`per_s` requests a second on average, and as many at once as two seconds bring; 0 sets no limit."""

    def __init__(self, per_s: float) -> None:
        self.per_s, self._most = per_s, max(1.0, 2 * per_s)
        self._buckets: dict[str, tuple[float, float]] = {}  # by caller: tokens, and when that was

    def take(self, caller: str) -> None:
        """Raises RateExceeded when the caller's bucket is empty."""
        if not self.per_s:
            return
        now_s = monotonic_s()
        tokens, at_s = self._buckets.pop(caller, (self._most, now_s))
        tokens = min(self._most, tokens + (now_s - at_s) * self.per_s)
        allowed = tokens >= 1
        self._buckets[caller] = tokens - allowed, now_s  # the last place: who was here longest ago is forgotten first
        if len(self._buckets) > _MOST:
            del self._buckets[next(iter(self._buckets))]
        if not allowed:
            wait_s = math.ceil((1 - tokens) / self.per_s)
            raise RateExceeded(f"more than {self.per_s:g} requests a second", retry_after_s=wait_s)
