"""The demo's server: `netwright serve` in a process of its own, as a user would start it."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError

USUAL_PORT = 8000
LOG_NAME = "server.log"
_LAST_SIGNS = 1_000
_START_S = 30.0
_STOP_S = 10.0
_KEPT = ("NETWRIGHT_LOG_LEVEL", "NETWRIGHT_WORKERS")  # a demo never touches the data of another server


@dataclass(frozen=True)
class Server:
    """Where it answers, and how long it took to."""

    url: str
    data_dir: Path
    started_s: float
    process: subprocess.Popen[str]

    def last_words(self) -> str:
        """The end of its log."""
        return (self.data_dir / LOG_NAME).read_text("utf-8")[-_LAST_SIGNS:]


@contextmanager
def running(data_dir: Path) -> Iterator[Server]:
    """A server on port 8000, or on a free one when that is taken; stopped on leaving.

    Raises ServiceError with the server's last words when it does not come up.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / LOG_NAME
    command = [sys.executable, "-m", "service", "serve", "--port", str(_port()), "--data-dir", str(data_dir)]
    begin = time.monotonic()
    with (
        open(log, "w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, env=_environment(), stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        ) as process,
    ):
        try:
            url = _address(process)
            if url is None:
                raise ServiceError("the server did not start", hint=log.read_text("utf-8")[-_LAST_SIGNS:])
            yield Server(url, data_dir, time.monotonic() - begin, process)
        finally:
            _stop(process)


def _port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return 0
    return USUAL_PORT


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NETWRIGHT_") or name in _KEPT}


def _address(process: subprocess.Popen[str]) -> str | None:
    """What the server says when it answers; None when it ends or says nothing."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_S)
    said = re.search(r"http://\S+", process.stdout.readline() if ready else "")
    return said.group() if said else None


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
        return
    process.kill()
