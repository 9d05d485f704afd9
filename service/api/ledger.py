"""One thread that writes what other programs log: all that came while it committed goes into its next transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from service.errors import ServiceError

_MOST = 256  # callers who share a transaction
_PATIENCE_S = 2.0
_LOG = logging.getLogger(__name__)
Points = Mapping[str, tuple[Any, ...]]
AppendAll = Callable[[Sequence[tuple[str, Points]]], Sequence[bool]]


class _Entry(NamedTuple):
    run_id: str
    points: Points
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[bool]


class Ledger:
    """Used from event loops; the thread begins with the first entry and ends with `close`."""

    def __init__(self, append_all: AppendAll) -> None:
        self._append_all = append_all
        self._entries: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def write(self, run_id: str, points: Points) -> bool:
        """Whether the points are durable now; if not, nothing of them was written."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        entry = _Entry(run_id, points, loop, loop.create_future())
        self._entries.put(entry)
        return await entry.written

    def close(self) -> None:
        """Writes what is there and ends; a store that another process holds is not waited for."""
        if self._thread is not None:
            self._entries.put(None)
            self._thread.join(_PATIENCE_S)
            self._thread = None

    def _run(self) -> None:
        while (entry := self._entries.get()) is not None:
            taken = [entry]
            with suppress(Empty):
                while len(taken) < _MOST and (more := self._entries.get_nowait()) is not None:
                    taken.append(more)
            self._write(taken)

    def _write(self, taken: Sequence[_Entry]) -> None:
        said: Sequence[bool] = [False] * len(taken)
        try:
            said = self._append_all([(each.run_id, each.points) for each in taken])
        except ServiceError:
            pass  # each asks again by itself, and is told
        except Exception:
            _LOG.exception("what %d callers logged was not written together", len(taken))
        for each, written in zip(taken, said, strict=True):
            with suppress(RuntimeError):  # its loop is closed: the server has left
                each.loop.call_soon_threadsafe(_tell, each.written, written)


def _tell(future: asyncio.Future[bool], written: bool) -> None:
    if not future.done():
        future.set_result(written)
