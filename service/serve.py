"""`netwright serve`: wires the rooms together and runs them until a signal."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import signal
import socket
import sys
from asyncio import Protocol
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from threading import Thread
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import config, log, storage
from service.api import Direct, create_app
from service.config import Settings
from service.errors import InvalidSpec, NotFound, ServiceError
from service.jobs import LocalExecutor, Supervisor
from service.serving import Registry
from service.siblings import First, Siblings
from service.storage import Store
from service.webhook import Courier
from service.webhook import check as check_url

LOG = logging.getLogger(__name__)
GRACE_S = 2  # for requests and streams that are open when the server leaves; with all the rest it is gone within 3 s
_BACKLOG = 2048
_MENDS = dict.fromkeys(
    (errno.EADDRINUSE, errno.EACCES), "Another port: --port (or NETWRIGHT_PORT); 0 takes a free one."
)


def main(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT. Raises InvalidSpec when the settings or the address cannot be.

    Raises Conflict when another server works in the data folder.
    """
    words = ("host", "port", "allow_remote", "data_dir", "workers", "processes")
    settings = config.load(**{word: getattr(arguments, word) for word in words})
    if arguments.sibling is not None:
        return serve_beside(settings, *arguments.sibling)
    if not is_loopback(settings.host) and not may_have_keys(settings):
        check_host(settings)
    if settings.webhook_url:
        check_url(settings.webhook_url, allow_private=settings.webhook_allow_private)
    with ExitStack() as stack:
        listeners = listen_all(settings.host, settings.port, settings.processes)
        for each in listeners:
            stack.enter_context(closing(each))
        stack.enter_context(storage.hold(settings.data_dir))
        log.configure(settings.log_level)
        store = stack.enter_context(closing(storage.open(settings.url, settings.data_dir)))
        if not is_loopback(settings.host) and store.keys.held() is None:
            check_host(settings)
            LOG.warning("%s: nobody needs a key, and not only this machine can reach it", address(listeners[0]))
        run(settings, store, listeners)
    return 0


def run(settings: Settings, store: Store, listeners: Sequence[socket.socket]) -> None:
    """Answers on the first listener and trains what is submitted, until a signal; siblings answer on the others."""
    store.tally.share("server")
    supervisor = Supervisor(store, LocalExecutor(settings), settings.lease_s)
    app = create_app(settings, store, Registry(store, settings.cache_bytes), supervisor.poke)
    courier = Courier(store, allow_private=settings.webhook_allow_private)
    siblings = Siblings(settings, listeners[1:], supervisor.poke)
    supervisor.start()
    courier.start()
    siblings.start()
    try:
        leaving = (app.state.leave, supervisor.drain, siblings.ask_to_leave)
        Server(app, leaving, announce, Direct).run([listeners[0]])
    finally:
        siblings.ask_to_leave()
        courier.close()
        supervisor.drain()
        siblings.close()


def serve_beside(settings: Settings, listener_fd: int, first_fd: int) -> int:
    """One of several server processes: answers requests, and leaves the jobs to the first."""
    log.configure(settings.log_level)
    first, listener = First(first_fd), socket.socket(fileno=listener_fd)
    with closing(listener), closing(storage.open(settings.url, settings.data_dir)) as store:
        store.tally.share("server")
        app = create_app(settings, store, Registry(store, settings.cache_bytes), first.wake, first=False)
        server = Server(app, (app.state.leave,), lambda _: first.ready(), Direct)
        first.when_gone(lambda: server.handle_exit(signal.SIGTERM, None))
        server.run([listener])
    return 0


def announce(listeners: Sequence[socket.socket]) -> None:
    """Tells whoever started us where we answer."""
    for listener in listeners:
        say(f"netwright answers on {address(listener)}")


class Server(uvicorn.Server):
    """uvicorn, with two moments of ours: when it answers, and when it is asked to leave."""

    def __init__(
        self, app: ASGIApp, leaving: Sequence[Callable[[], None]], answering: Callable[[Sequence[socket.socket]], None],
        protocol: type[Protocol] = HttpToolsProtocol,
    ) -> None:  # fmt: skip
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                interface="asgi3",
                http=protocol,
                ws="none",
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._leaving, self._answering = leaving, answering

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._answering(sockets or ())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Streams end and runs go back to the queue at once, not after the last request."""
        if not self.should_exit:
            for step in self._leaving:
                Thread(target=step, name="leaving").start()
        self.should_exit = True


def check_host(settings: Settings) -> None:
    """What can be reached from elsewhere without a key must be asked for by name (decision 0004)."""
    if not (is_loopback(settings.host) or settings.allow_remote):
        raise InvalidSpec(
            f"will not listen on {settings.host}: nobody needs a key, so all who reach it could do everything",
            hint="netwright keys create NAME; or, if all of them may, NETWRIGHT_ALLOW_REMOTE=true (--allow-remote).",
        )


def may_have_keys(settings: Settings) -> bool:
    """Whether the store's callers may need keys, asked before anything is made: False when there is no store."""
    try:
        with closing(storage.existing(settings.url, settings.data_dir)) as store:
            return store.keys.held() is not None
    except NotFound:
        return False
    except ServiceError:
        return True  # of another version: to be seen when it is opened


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host's address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_all(host: str, port: int, count: int) -> list[socket.socket]:
    """As many sockets listening on one port, among which the system shares out who connects. Raises InvalidSpec."""
    alone = listen(host, port)
    if count == 1:
        return [alone]
    if not hasattr(socket, "SO_REUSEPORT"):
        alone.close()
        raise InvalidSpec(
            "this system does not let several processes listen on one port", hint="Leave out --processes."
        )
    with closing(alone):  # nobody else has the port, and it has a number
        port = alone.getsockname()[1]
    return [listen(host, port, shared=True) for _ in range(count)]


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """A listening socket; whoever connects from now on waits to be answered. Raises InvalidSpec when it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidSpec(
            f"cannot listen on {host}, port {port}: {error.strerror}",
            hint=_MENDS.get(error.errno or 0, "An address of this machine: --host (or NETWRIGHT_HOST)."),
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """Where to send a request, with the port that was really taken."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def say(line: str) -> None:
    """One line to whoever started us; the log goes elsewhere, and nobody need listen."""
    with suppress(OSError, ValueError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
