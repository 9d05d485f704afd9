"""Names a process so that a later one with the same pid is not taken for it, and tells whether it still lives."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from service.clock import boot_id
from service.storage import Owner

_START_TIME = 19  # place of `starttime` after the command's closing bracket in /proc/PID/stat, proc(5)
_WORDS_BYTES = 2_000


def owner_of(pid: int) -> Owner:
    """The process's name for the store. Its start time is empty where the kernel does not tell it."""
    fields = _stat(pid)
    return Owner(pid=pid, started=fields[_START_TIME] if fields else "", boot_id=boot_id())


def alive(owner: Owner) -> bool:
    """Whether that very process still runs; a dead one that nobody has waited for does not."""
    if owner.boot_id != boot_id() or not _exists(owner.pid):
        return False
    fields = _stat(owner.pid)
    return not fields or (fields[_START_TIME] == owner.started and fields[0] not in "ZX")


def end(owner: Owner, number: signal.Signals) -> None:
    """Sends the process a signal, unless it is another one by now."""
    if alive(owner):
        with suppress(ProcessLookupError):
            os.kill(owner.pid, number)


def words_file(data_dir: Path, pid: int) -> Path:
    """Where the worker leaves its last words: the trace of a crash, from Python or below it."""
    return data_dir / "workers" / f"{pid}.words"


def last_words(data_dir: Path, pid: int) -> str:
    """The end of what it left, empty when it had no time to."""
    try:
        data = words_file(data_dir, pid).read_bytes()
    except OSError:
        return ""
    return data[-_WORDS_BYTES:].decode("utf-8", "replace").strip()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where there are none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
