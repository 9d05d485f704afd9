"""Fans out what happens: one question to the store for all who watch, every event encoded once.

Everybody lives on one event loop. The store is asked whether anything was committed (microseconds) only while somebody
watches; new events go to the watchers of their job or run and into a ring, from which those who come back are served.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from service.api.frames import News, progress_frame
from service.api.ring import Ring
from service.api.topics import Topics
from service.api.watcher import Pour, Watcher, Write
from service.errors import ServiceError
from service.storage import FINAL, Standing, Store

POLL_S = 0.005
PROGRESS_S = 0.25  # at most so often is progress told, which is no event
KEEP_ALIVE_S = 15.0  # the longest silence of a stream
PAGE = 500  # events read in one go
_REST_S = 1.0  # after the store refused us
Standings = dict[str, Standing | None]
_LOG = logging.getLogger(__name__)


class Watch:
    """Who watches what. `close` ends every stream and every wait at once and lets none begin: the server leaves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: set[Watcher] = set()
        self._by_topic: dict[str | None, set[Watcher]] = {}
        self._ring = Ring()
        self._version = -1  # of the store when it was last read
        self._told: Standings = {}  # progress as the watchers have it
        self._told_version = -1
        self._progress_at_s = self._alive_at_s = 0.0
        self._poller: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    def close(self) -> None:
        """May be called from a signal handler or another thread."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    @contextmanager
    def watching(
        self,
        topics: Topics,
        cursor: int,
        found: Standings | None = None,
        write: Write | None = None,
        pour: Pour | None = None,
    ) -> Iterator[Watcher]:
        """A watcher that is told of everything after the event `cursor`, and how all stand.

        `found`: how they stood a moment ago, when the caller knows.
        """
        watcher = Watcher(self, topics, cursor, write, pour)
        names = topics.every or (None,)
        self._start()
        self._watchers.add(watcher)
        for topic in names:
            self._by_topic.setdefault(topic, set()).add(watcher)
        try:
            self.stand(watcher, found)
            yield watcher
        finally:
            self._watchers.discard(watcher)
            for topic in names:
                self._by_topic[topic].discard(watcher)
                if topic is not None and not self._by_topic[topic]:
                    del self._by_topic[topic]

    def after(self, cursor: int, topics: Topics, limit: int) -> Sequence[News]:
        """The first events after `cursor`: from the ring, when somebody watches and it reaches back so far."""
        if self._watchers:
            self._read()
            if cursor >= self._ring.after:
                return self._ring.since(cursor, topics, limit)
        jobs, runs = topics.jobs or None, topics.runs or None
        return [News(event) for event in self._store.events.after(cursor, job_ids=jobs, run_ids=runs, limit=limit)]

    def stand(self, watcher: Watcher, found: Standings | None = None) -> None:
        """Tells a watcher how all stand that it watches, and what of it has ended."""
        if found is None:
            found = self._standings(watcher.topics.every)
        for topic in watcher.topics.every:
            _tell((watcher,), topic, found.get(topic), ended=True)
            self._told.setdefault(topic, found.get(topic))

    def _start(self) -> None:
        """Begins to ask, or goes on; what happened meanwhile is left to those who ask for it when it is much."""
        if self._poller is not None and not self._poller.done():
            return
        self._loop = asyncio.get_running_loop()
        if self._version < 0 or self._store.events.latest_id() > self._ring.upto + PAGE:
            self._version = self._store.events.version()
            self._ring = Ring(self._store.events.latest_id())
        self._alive_at_s = time.monotonic() + KEEP_ALIVE_S / 2
        self._poller = self._loop.create_task(self._poll())

    async def _poll(self) -> None:
        while not self.closed:
            pause_s = POLL_S
            try:
                self._turn(time.monotonic())
            except ServiceError as error:
                _LOG.warning("the store refuses those who watch: %s", error)
                pause_s = _REST_S
            except Exception:
                _LOG.exception("the watch stumbled")
                pause_s = _REST_S
            if not self._watchers:
                return
            await asyncio.sleep(pause_s)

    def _turn(self, now_s: float) -> None:
        version = self._read()
        if now_s >= self._progress_at_s:
            self._progress_at_s = now_s + PROGRESS_S
            for watcher in self._watchers:
                watcher.flush()
            if version != self._told_version:
                self._tell_progress()
                self._told_version = version
        if now_s >= self._alive_at_s:
            self._alive_at_s = now_s + KEEP_ALIVE_S / 2
            for watcher in self._watchers:
                watcher.keep_alive()

    def _read(self) -> int:
        """Takes in what was committed since, and hands it out; the store's version then."""
        version = self._store.events.version()
        while version != self._version:
            found = [News(event) for event in self._store.events.after(self._ring.upto, limit=PAGE)]
            self._ring.add(found)
            self._hand_out(found)
            if len(found) < PAGE:
                self._version = version
        return version

    def _hand_out(self, found: Sequence[News]) -> None:
        ended, told, more = set[str](), set[Watcher](), len(found) > 1
        for news in found:
            finished = news.event.kind == "finished"
            for topic in (news.event.job_id, news.event.run_id, None):
                watchers = self._by_topic.get(topic, ())
                for watcher in watchers:
                    watcher.tell(news, more=more or finished)
                if more or finished:
                    told.update(watchers)
                if topic and watchers and finished:
                    ended.add(topic)
        for topic, standing in self._standings(ended).items():  # a job of several runs ends with the last of them
            _tell(self._by_topic[topic], topic, standing, ended=True)
        for watcher in told:
            watcher.flush()

    def _tell_progress(self) -> None:
        """To the watchers of each topic that has got on, or is gone."""
        found = self._standings(topic for topic in self._by_topic if topic is not None)
        for topic, standing in found.items():
            if standing != self._told.get(topic):
                _tell(self._by_topic[topic], topic, standing, ended=False)
        self._told = found

    def _standings(self, names: Iterable[str]) -> Standings:
        """In the order of the names; None for what is not there any more."""
        topics = Topics.of(names)
        if not topics.every:
            return {}
        found = self._store.events.standings(topics.jobs, topics.runs)
        return {topic: found.get(topic) for topic in topics.every}

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.wake()


def _tell(watchers: Iterable[Watcher], topic: str, standing: Standing | None, *, ended: bool) -> None:
    """How it stands; and that it has ended, when all its events were told."""
    frame = b"" if standing is None else progress_frame(topic, standing)
    status = "deleted" if standing is None else standing.status
    for watcher in watchers:
        if frame:
            watcher.progress(topic, frame)
        if standing is None or (ended and status in FINAL):
            watcher.end(topic, status)
