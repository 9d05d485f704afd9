"""What the routes need, handed to them by the app factory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

from anyio import to_thread
from fastapi import Depends
from starlette.requests import HTTPConnection

from service.api.watch import Watch
from service.config import Settings
from service.errors import Draining
from service.serving import Registry
from service.storage import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The rooms below, and the two threads to the jobs side by side: `wake` it, count its `workers`."""

    settings: Settings
    store: Store
    registry: Registry
    wake: Callable[[], None]
    workers: Callable[[], int]
    watch: Watch

    def check_open(self) -> None:
        """Raises Draining when the server is leaving: what is begun now would be lost."""
        if self.watch.closed:
            raise Draining("the server is leaving", hint="Try again when it is back.")


async def _context(connection: HTTPConnection) -> Context:  # async, or FastAPI would call it in a thread
    context: Context = connection.app.state.context
    return context


Here = Annotated[Context, Depends(_context)]


async def in_thread(verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs what may wait (a commit, a file) beside the event loop; quick reads of the store need not come here."""
    return await to_thread.run_sync(lambda: verb(*args, **kwargs))
