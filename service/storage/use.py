"""Who uses a folder: every open store shares it; whoever replaces what is in it must have it alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import Conflict

LOCK = "in-use.lock"


def shared(data_dir: Path) -> int:
    """Uses the folder until this descriptor is closed, if only by the process's death. Raises Conflict."""
    return _locked(data_dir, fcntl.LOCK_SH, f"{data_dir} is being restored", "Wait for the end of it.")


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Nobody else uses the folder inside. Raises Conflict when somebody does."""
    held = _locked(
        data_dir, fcntl.LOCK_EX, f"{data_dir} is in use by a server or its workers", "Stop the server first."
    )
    try:
        yield
    finally:
        os.close(held)


def _locked(data_dir: Path, how: int, message: str, hint: str) -> int:
    held = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise Conflict(message, hint=hint) from error
    return held
