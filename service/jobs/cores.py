"""Who may use this machine's cores: answers first, then a process for each attempt, then a second one of a lone one."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.clock import monotonic_s
from service.config import cores
from service.storage import Tally

_NICE = 10  # a tenth of the share of whoever else wants the same core; all of a core that nobody wants
_AUTOGROUP = Path("/proc/self/autogroup")
_LOOK_S, _CALM_S = 0.25, 3.0  # between two looks at the tally; for so long after a busy one no second core
_BUSY = 0.01  # seconds of answering in a second


def _file(data_dir: Path) -> Path:
    return data_dir / "workers" / "busy"


class Busy:
    """The server's end of one byte that every worker sees as it changes: how many attempts share this machine."""

    def __init__(self, data_dir: Path) -> None:
        path = _file(data_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.tell(0)

    def tell(self, attempts: int) -> None:
        os.pwrite(self._file, bytes([min(attempts, 255)]), 0)

    def close(self) -> None:
        os.close(self._file)


def processes(data_dir: Path, tally: Tally) -> Callable[[], int]:
    """How many processes an attempt may work with now: two, while there are two cores for every attempt and no callers.

    Asking is a look at memory, and at the tally now and then: a second attempt gets its core as soon as the first one
    looks up. Who asks also gives way to the server while there are callers.
    """
    with suppress(OSError, ValueError):
        mine = cores()
        with _file(data_dir).open("rb") as file:
            busy = mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
        asked, rank = Asked(lambda: sum(each.sum_s for name, each in tally.read().items() if name != "commit")), Rank()

        def granted() -> int:
            callers = asked()
            rank.give_way(callers)
            return 2 if 2 * max(busy[0], 1) <= mine and not callers else 1

        return granted
    return lambda: 1


@dataclass
class Asked:
    """Whether the server had answers to give in the last seconds. `answering_s`: how long that took it altogether."""

    answering_s: Callable[[], float]
    _looked_s: float = field(default_factory=monotonic_s)
    _before_s: float | None = None
    _busy_s: float = float("-inf")

    def __call__(self) -> bool:
        now = monotonic_s()
        if self._before_s is None or now - self._looked_s >= _LOOK_S:
            so_far = self.answering_s()
            if self._before_s is not None and so_far - self._before_s > _BUSY * (now - self._looked_s):
                self._busy_s = now
            self._before_s, self._looked_s = so_far, now
        return now - self._busy_s < _CALM_S


class Rank:
    """Lets the server go first on a core that both want, where the system lets us take that back.

    Two words for one thing: where Linux shares out cores by session (sched(7), autogroup) only the session's number
    counts, and whoever has lowered it may raise it again; elsewhere a thread's own, which few may raise.
    """

    def __init__(self) -> None:
        self._gave = False
        self._own, self._sessions = os.getpriority(os.PRIO_PROCESS, 0), 0
        with suppress(OSError, ValueError):
            self._sessions = int(_AUTOGROUP.read_text().rpartition(" ")[2])
        try:
            os.setpriority(os.PRIO_PROCESS, 0, self._own - 1)
            os.setpriority(os.PRIO_PROCESS, 0, self._own)
            self._may_rise = True
        except OSError:
            self._may_rise = False

    def give_way(self, callers: bool) -> None:
        """To be asked again and again: Linux takes a session's number ten times a second at most."""
        if callers == self._gave:
            return
        own, sessions = (max(each, _NICE) if callers else each for each in (self._own, self._sessions))
        if self._may_rise:
            os.setpriority(os.PRIO_PROCESS, 0, own)
        try:
            _AUTOGROUP.write_text(str(sessions))
        except BlockingIOError:
            return
        except OSError:
            pass  # there is none
        self._gave = callers
