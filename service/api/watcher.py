"""One reader of events: what it has not read yet is bounded, and what it was too slow for it reads from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from service.api.frames import ALIVE, News, end_frame
from service.api.topics import Topics

MOST_EVENTS, MOST_BYTES = 500, 250_000  # kept for a reader; a slower one goes on from the store


Write = Callable[[bytes], Awaitable[None] | None]
Pour = Callable[[bytes], bool]


class Source(Protocol):
    """Where a reader that is behind goes on reading, and asks how all stand when something has ended meanwhile."""

    @property
    def closed(self) -> bool: ...

    def after(self, cursor: int, topics: Topics, limit: int) -> Sequence[News]: ...

    def stand(self, watcher: Watcher) -> None: ...


class Watcher:
    """Told by the watch on one side, read by a stream or a long poll on the other; both on one event loop.

    It begins behind: `next` reads from the source until nothing is left there, and from then on what it is told. Events
    are never dropped: a reader that does not keep up is behind again. Progress is: only the newest counts. While the
    reader waits, the watch itself calls `pour` for it, or `write` where that says no, which saves waking a task for
    every event; what `write` could not do at once it returns, and the reader waits for that.
    """

    __slots__ = (
        "_alive", "_behind", "_bytes", "_cursor", "_ends", "_frames", "_pour", "_progress", "_read", "_rest", "_silent",
        "_source", "_waker", "_write", "over", "topics",
    )  # fmt: skip

    def __init__(
        self, source: Source, topics: Topics, cursor: int, write: Write | None = None, pour: Pour | None = None
    ) -> None:
        self.topics = topics
        self.over = False
        self._source = source
        self._write, self._pour = write, pour
        self._rest: Awaitable[None] | None = None
        self._read = self._cursor = cursor  # the last event the reader has, and the last that is kept for it
        self._behind = True
        self._frames: list[bytes] = []
        self._bytes = 0
        self._progress: dict[str, bytes] = {}
        self._ends: dict[str, str] = {}
        self._silent = self._alive = False
        self._waker: asyncio.Future[None] | None = None

    # the watch's side

    def tell(self, news: News, *, more: bool = True) -> None:
        """Something happened. What the reader has already is left out. With no more to tell, it hears at once."""
        if self._behind or news.id <= self._cursor:
            return
        if not more and self._free() and self._pour is not None and self._pour(news.frame):
            self._read = self._cursor = news.id
            self._silent = False
            return
        self._frames.append(news.frame)
        self._bytes += len(news.frame)
        self._cursor = news.id
        if self._bytes > MOST_BYTES or len(self._frames) > MOST_EVENTS:
            self._frames, self._bytes, self._cursor, self._behind = [], 0, self._read, True
        if not more:
            self.flush()

    def _free(self) -> bool:
        """It waits, and nothing is kept for it."""
        return not (self._waker is None or self._frames or self._progress or self._ends)

    def progress(self, topic: str, frame: bytes) -> None:
        """How far a job or a run is; told with the next event, or at the next `flush`."""
        self._progress[topic] = frame

    def end(self, topic: str, status: str) -> None:
        """Nothing more will happen to it than what was told."""
        self._ends.setdefault(topic, status)

    def keep_alive(self) -> None:
        """Called at intervals: breaks a silence that has lasted a whole one."""
        self._alive = self._silent
        self._silent = True
        self.flush()

    def flush(self) -> None:
        """Lets the reader have what it was told. One that is at work looks by itself."""
        if self._waker is None:
            return
        if self._write is None or self._behind:
            self.wake()
            return
        frames = self._taken()
        if frames and not (self._pour is not None and self._pour(frames)):
            self._rest = self._write(frames)
        if self._rest is not None or self.over:
            self.wake()

    def wake(self) -> None:
        """Lets the reader look again."""
        waker, self._waker = self._waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)

    # the reader's side

    async def next(self) -> bytes:
        """The frames that are new; none when it is `over`, because all has ended or the server leaves."""
        while not (self._source.closed or self.over):
            found = self._caught_up() if self._behind else self._taken()
            if found:
                return found
            await self._wait()
        self.over = True
        return b""

    async def news(self) -> None:
        """Until there is an event, or nothing left to wait for."""
        self._behind = bool(self._source.after(self._read, self.topics, 1))
        while not (self._behind or self._frames or self._ended() or self._source.closed):
            await self._wait()

    async def _wait(self) -> None:
        self._waker = asyncio.get_running_loop().create_future()
        await self._waker
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest

    def _caught_up(self) -> bytes:
        found = self._source.after(self._read, self.topics, MOST_EVENTS)
        self._behind = len(found) == MOST_EVENTS
        if not found:
            return self._taken()
        self._read = self._cursor = found[-1].id
        if any(news.event.kind == "finished" for news in found):
            self._source.stand(self)
        self._silent = False
        return b"".join([news.frame for news in found])

    def _taken(self) -> bytes:
        frames = self._frames
        if self._progress:
            frames += self._progress.values()
            self._progress = {}
        if self._ends and self._ended():
            self.over = True
            frames.append(end_frame(self._ends))
        if self._alive:
            self._alive = False
            frames = frames or [ALIVE]
        if not frames:
            return b""
        self._frames, self._bytes, self._read, self._silent = [], 0, self._cursor, False
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _ended(self) -> bool:
        return bool(self._ends) and len(self._ends) == len(self.topics.every)
