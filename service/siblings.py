"""Several server processes on one port: the first starts the others, hears them, and takes them along when it leaves.

They meet in the store and in the pages of the models' files, which all of them map. The first alone runs the jobs; the
others wake it by a byte through a pipe. Each listens on a socket of its own (SO_REUSEPORT), which the first keeps open
too: while a process that died is started anew, who has connected to it waits and is answered.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Semaphore, Thread

from service.config import PREFIX, Settings

LOG = logging.getLogger(__name__)
READY, WAKE = b"r", b"w"
_STDIN = 0
_START_S = 30.0
_REST_S = 0.5  # before a process that died is started anew
_LEAVE_S = 2.5


class Siblings:
    """The other processes, one for each listener."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket], poke: Callable[[], None]) -> None:
        self._settings, self._listeners, self._poke = settings, listeners, poke
        self._ready = Semaphore(0)
        self._leaving = Event()
        self._heard, self._said = os.pipe()
        self._living: dict[int, subprocess.Popen[bytes]] = {}
        self._keepers = [Thread(target=self._keep, args=(each,), name="sibling") for each in listeners]
        self._ear = Thread(target=self._listen, name="siblings", daemon=True)

    def start(self) -> None:
        """Returns when all of them answer, or after a while."""
        for thread in (self._ear, *self._keepers):
            thread.start()
        for _ in self._listeners:
            self._ready.acquire(timeout=_START_S)

    def ask_to_leave(self) -> None:
        """Tells them to end their streams and finish what they are at."""
        self._leaving.set()
        for process in list(self._living.values()):
            process.terminate()

    def close(self) -> None:
        """Waits for them to be gone; the slow are killed."""
        self.ask_to_leave()
        for thread in self._keepers:
            thread.join(_LEAVE_S)
        for process in list(self._living.values()):
            process.kill()
        for thread in self._keepers:
            thread.join()
        os.close(self._said)

    def _keep(self, listener: socket.socket) -> None:
        while not self._leaving.is_set():
            process = self._begin(listener)
            self._living[listener.fileno()] = process
            if self._leaving.is_set():  # asked while it was being started
                process.terminate()
            code = process.wait()
            del self._living[listener.fileno()]
            if process.stdin is not None:
                process.stdin.close()
            if not self._leaving.is_set():
                LOG.error("a server process ended with code %s and is started anew", code)
                self._leaving.wait(_REST_S)

    def _begin(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        """A process that leaves when its standard input ends: with us, however we end."""
        fds = (listener.fileno(), self._said)
        words = [sys.executable, "-m", "service", "serve", "--sibling", *map(str, fds)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=fds, env=os.environ | environ(self._settings))

    def _listen(self) -> None:
        while said := os.read(self._heard, 1):
            if said == READY:
                self._ready.release()
            else:
                self._poke()


def environ(settings: Settings) -> dict[str, str]:
    """The settings as variables that give the same settings."""
    return {PREFIX + name.upper(): str(value) for name, value in settings.model_dump().items()}


class First:
    """The first process, as one of the others sees it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)  # a full pipe is a wake already

    def wake(self) -> None:
        """There may be something new to do."""
        self._say(WAKE)

    def ready(self) -> None:
        """Requests are answered here from now on."""
        self._say(READY)

    def _say(self, word: bytes) -> None:
        with suppress(OSError):
            os.write(self._fd, word)

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Calls `leave` when it has ended."""

        def wait() -> None:
            while os.read(_STDIN, 1):  # not sys.stdin, whose lock a process that ends cannot take from this thread
                pass
            leave()

        Thread(target=wait, name="first", daemon=True).start()
