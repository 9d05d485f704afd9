"""Names a process so that a later one with the same pid is not taken for it, and tells whether it still lives."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from service.clock import boot_id
from service.storage import Owner

_START_TIME = 19  # place of `starttime` after the command's closing bracket in /proc/PID/stat, proc(5)
_WORDS = 1_500  # characters kept of either end
_BORING = "\nExtension modules:"  # how a crash report ends
_VMSTAT = Path("/proc/vmstat")


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


def forget_words(data_dir: Path) -> None:
    """Removes the files of processes that are no more."""
    for path in (data_dir / "workers").glob("*.words"):
        if path.stem.isdecimal() and not _exists(int(path.stem)):
            path.unlink(missing_ok=True)


def last_words(data_dir: Path, pid: int) -> str:
    """What it left, its middle cut out when it is long; empty when it had no time to."""
    try:
        said = words_file(data_dir, pid).read_text(encoding="utf-8", errors="replace").partition(_BORING)[0].strip()
    except OSError:
        return ""
    return said if len(said) <= 2 * _WORDS else f"{said[:_WORDS]}\n...\n{said[-_WORDS:]}"


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not tell."""
    try:
        told = _VMSTAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in told if line.startswith("oom_kill ")), 0)


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
