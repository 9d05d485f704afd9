"""Durations counted into buckets, in a file for each process, so that any of them can tell of all.

A count is one addition to mapped memory: no lock, no call of the system. The file of a process that is no more is
recognised by its lock, which the kernel has let go, and `fold` adds it to our own: no count ever falls.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final, Literal

BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
Timed = Literal["predict", "infer", "completions", "commit"]
TIMED: Final[tuple[Timed, ...]] = ("predict", "infer", "completions", "commit")
_NS = 1_000_000_000
_WIDTH = len(BOUNDS_S) + 2  # the buckets, the one without end, and nanoseconds altogether
_CELLS = len(TIMED) * _WIDTH
_SUFFIX = f".tally{_CELLS}"  # another layout is another suffix
_LOG = logging.getLogger(__name__)
Cells = list[int] | memoryview


class Histogram:
    """How long something took, every time. Counting belongs to one thread at a time."""

    __slots__ = ("cells",)

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def add(self, seconds: float) -> None:
        cells = self.cells
        cells[bisect_left(BOUNDS_S, seconds)] += 1
        cells[_WIDTH - 1] += int(seconds * _NS)


@dataclass(frozen=True, slots=True)
class Timing:
    """A histogram as read: how many up to each of `BOUNDS_S`, then those beyond; and the seconds of all."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class Process:
    """One that works in the folder now."""

    kind: str  # server or worker
    pid: int


class Tally:
    """The counts of this process, its own until `share`; afterwards all of the folder's are summed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None
        self._path: Path | None = None
        self._of = {name: Histogram([0] * _WIDTH) for name in TIMED}

    def __getitem__(self, name: Timed) -> Histogram:
        return self._of[name]

    def share(self, kind: Literal["server", "worker"]) -> None:
        """Counts where the others can read it from now on; where the disk has no room, alone as before."""
        try:
            self._folder.mkdir(exist_ok=True)
            with self._locked(fcntl.LOCK_SH):
                self._map(self._folder / f"{kind}-{os.getpid()}-{token_hex(4)}{_SUFFIX}")
        except OSError as error:
            _LOG.warning("what this process does will not be in /metrics: %s", error)

    def _map(self, path: Path) -> None:
        """Written in full before it is mapped: a write to memory that no disk stands behind would kill us."""
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # somebody may just be looking whether we live
            os.write(held, b"".join(count.to_bytes(8, "little") for each in self._of.values() for count in each.cells))
            cells = memoryview(mmap.mmap(held, 8 * _CELLS)).cast("Q")
        except BaseException:
            os.close(held)
            path.unlink(missing_ok=True)
            raise
        self._held, self._path = held, path
        for place, each in enumerate(self._of.values()):
            each.cells = cells[place * _WIDTH : (place + 1) * _WIDTH]

    def read(self) -> dict[Timed, Timing]:
        """Of all processes that share, the dead ones too, and of this one."""
        total = [count for each in self._of.values() for count in each.cells]
        with suppress(FileNotFoundError), self._locked(fcntl.LOCK_SH):
            for path in self._others():
                total = [a + b for a, b in zip(total, _counts(path), strict=True)]
        rows = [total[at : at + _WIDTH] for at in range(0, _CELLS, _WIDTH)]
        return {name: Timing(tuple(row[:-1]), row[-1] / _NS) for name, row in zip(TIMED, rows, strict=True)}

    def processes(self) -> list[Process]:
        """Those that live and share, this one with them."""
        paths = [*self._others(), *([self._path] if self._path else [])]
        return [Process(*_name(path)) for path in sorted(paths) if path == self._path or _lives(path)]

    def fold(self) -> None:
        """Takes the counts of dead processes over, once we share."""
        if self._path is None:
            return
        with self._locked(fcntl.LOCK_EX):
            for path in [each for each in self._others() if not _lives(each)]:
                counts = iter(_counts(path))
                for each in self._of.values():
                    for place in range(_WIDTH):
                        each.cells[place] += next(counts)
                path.unlink()

    def close(self) -> None:
        """The counts stay, for others to take over."""
        if self._held is not None:
            fcntl.flock(self._held, fcntl.LOCK_UN)  # the mapping has the descriptor too
            os.close(self._held)
            self._held = self._path = None

    def _others(self) -> list[Path]:
        return [path for path in self._folder.glob(f"*{_SUFFIX}") if path != self._path]

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """While some read, nobody takes over, so that nothing is counted twice or not at all."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, how)
            yield
        finally:
            os.close(folder)


def _name(path: Path) -> tuple[str, int]:
    kind, pid, _ = path.name.split("-")
    return kind, int(pid)


def _counts(path: Path) -> tuple[int, ...]:
    data = path.read_bytes()
    return tuple(memoryview(data).cast("Q")) if len(data) == 8 * _CELLS else (0,) * _CELLS


def _lives(path: Path) -> bool:
    """Whether somebody holds its lock."""
    try:
        held = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False
