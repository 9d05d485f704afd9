"""One server a data folder: a second one would clear away the first one's uploads and judge its workers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import Conflict
from service.storage.durable import PRIVATE

LOCK = "server.lock"


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Has the folder to itself; the kernel lets go when this process dies, and workers do not inherit it.

    Raises Conflict while another process holds it.
    """
    data_dir.mkdir(PRIVATE, parents=True, exist_ok=True)
    with open(data_dir / LOCK, "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            other = file.read().strip() or "unknown"
            raise Conflict(
                f"another server (process {other}) works in {data_dir}",
                hint="Stop that one first, or give this one a folder of its own: --data-dir (or NETWRIGHT_DATA_DIR).",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
