"""The newest events, for readers who come back a moment later."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

from service.api.frames import News
from service.api.topics import Topics

MOST_EVENTS, MOST_BYTES = 4096, 4_000_000
_ID = attrgetter("id")


class Ring:
    """Every event of the store with an id above `after` and up to `upto`."""

    def __init__(self, after: int = 0) -> None:
        self.after = self.upto = after
        self._kept: list[News] = []
        self._bytes = 0

    def add(self, found: Sequence[News]) -> None:
        """What came next; the older half is let go when it has become too much."""
        if not found:
            return
        self._kept.extend(found)
        self._bytes += sum(len(news.json) for news in found)
        self.upto = found[-1].id
        while len(self._kept) > MOST_EVENTS or (self._bytes > MOST_BYTES and self._kept):
            middle = (len(self._kept) + 1) // 2
            gone, self._kept = self._kept[:middle], self._kept[middle:]
            self.after = gone[-1].id
            self._bytes -= sum(len(news.json) for news in gone)

    def since(self, cursor: int, topics: Topics, limit: int) -> list[News]:
        """The first `limit` of these topics after a cursor that is not below `after`."""
        later = self._kept[bisect_right(self._kept, cursor, key=_ID) :]
        return list(islice((news for news in later if topics.touch(news.event)), limit))
