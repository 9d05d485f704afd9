"""Tells waiting requests that something was committed: one question to the store for all, only while they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL_S = 0.02


class Watch:
    """Lives on one event loop. `close` ends every wait at once and lets none begin: the server wants to leave."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._waiting: set[asyncio.Future[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def close(self) -> None:
        """May be called from a signal handler or another thread."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def changed(self, seen: int, timeout_s: float) -> int:
        """Waits until the store's version is another than `seen`, at most `timeout_s`; returns the version then."""
        version = self._version()
        if self.closed or version != seen or timeout_s <= 0:
            return version
        self._loop = asyncio.get_running_loop()
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        if self._poller is None or self._poller.done():
            self._poller = self._loop.create_task(self._poll(version))
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiter)
        return self._version()

    def version(self) -> int:
        """The store's version now."""
        return self._version()

    async def _poll(self, seen: int) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_S)
            version = self._version()
            if version != seen:
                seen = version
                self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
