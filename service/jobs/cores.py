"""How many attempts share this machine: one byte that the server writes and every worker sees as it changes."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def _file(data_dir: Path) -> Path:
    return data_dir / "workers" / "busy"


class Busy:
    """The server's end."""

    def __init__(self, data_dir: Path) -> None:
        path = _file(data_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.tell(0)

    def tell(self, attempts: int) -> None:
        os.pwrite(self._file, bytes([min(attempts, 255)]), 0)

    def close(self) -> None:
        os.close(self._file)


def processes(data_dir: Path) -> Callable[[], int]:
    """How many processes an attempt may work with now: two, while there are two cores for every attempt.

    Asking is a look at memory: a second attempt gets its core as soon as the first one looks up.
    """
    with suppress(OSError, ValueError):
        cores = len(os.sched_getaffinity(0))
        with _file(data_dir).open("rb") as file:
            busy = mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
        return lambda: 2 if 2 * max(busy[0], 1) <= cores else 1
    return lambda: 1
