"""The executor of one machine: warm worker processes, each fed one JSON line an attempt over a pipe."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import service
from service.clock import monotonic_s
from service.config import PREFIX, Settings
from service.jobs import process
from service.jobs.cores import Busy
from service.jobs.executor import Gone
from service.storage import Attempt, Owner

THREAD_SETTINGS = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
_HUNGRY_LIVES, _KILLED_LIVES = 2, 10  # lost to want of memory; to a SIGKILL of somebody else, or nobody knows how
_REST_S = 1.0  # between two tries to start a worker that dies before it is ready


@dataclass
class _Worker:
    """One process: its pipes and what it is doing."""

    process: subprocess.Popen[bytes]
    owner: Owner
    born_s: float
    ready: bool = False
    said: bytes = b""
    attempt: Attempt | None = None
    finished: bool = False  # it has told the store the end of its attempt
    oom_kills: int = 0  # of the whole machine, before the attempt began


@dataclass
class _Adopted:
    """An attempt in a process that is not our child: how it ends is to be read from what it leaves."""

    attempt: Attempt
    owner: Owner
    oom_kills: int


@dataclass
class LocalExecutor:
    """Keeps `settings.workers` processes warm from the first `wait` on; adopted attempts take places until they end."""

    settings: Settings
    _workers: list[_Worker] = field(default_factory=list)
    _adopted: list[_Adopted] = field(default_factory=list)
    _next: _Worker | None = None  # named by `place`
    _leaving: bool = False
    _tidy: bool = False  # words of processes that earlier servers started have been read and removed

    def __post_init__(self) -> None:
        self._busy = Busy(self.settings.data_dir)
        self._selector = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    # the protocol

    def place(self) -> Owner | None:
        """A warm idle worker, unless adopted attempts already fill the machine."""
        if self._leaving or self._attempts() >= self.settings.workers:
            return None
        self._next = self._idle()
        return self._next.owner if self._next else None

    def start(self, attempt: Attempt) -> None:
        """Writes one line to the worker that `place` named; should it have died since, `gone` will say so."""
        worker = self._next
        assert worker is not None
        worker.attempt, worker.finished = attempt, False
        self._busy.tell(self._attempts())
        line = json.dumps(asdict(attempt)).encode() + b"\n"
        with suppress(BrokenPipeError):
            assert worker.process.stdin is not None
            os.write(worker.process.stdin.fileno(), line)
        worker.oom_kills = process.oom_kills()

    def adopt(self, attempt: Attempt, owner: Owner) -> None:
        self._adopted.append(_Adopted(attempt, owner, process.oom_kills()))
        self._busy.tell(self._attempts())

    def stop(self, attempt: Attempt) -> None:
        worker = self._holder(attempt)
        if worker is not None:
            worker.process.kill()
        for each in self._adopted:
            if each.attempt == attempt:
                process.end(each.owner, signal.SIGKILL)

    def gone(self, attempt: Attempt) -> Gone | None:
        worker = self._holder(attempt)
        if worker is not None:
            return Gone(told=True) if worker.finished else self._ended(worker)
        adopted = next((each for each in self._adopted if each.attempt == attempt), None)
        if adopted is None:
            return Gone(told=False, words="nobody knows of its process", lives=_KILLED_LIVES)
        return None if process.alive(adopted.owner) else self._vanished(adopted)

    def forget(self, attempt: Attempt) -> None:
        worker = self._holder(attempt)
        if worker is not None:
            worker.attempt = None
        self._adopted = [each for each in self._adopted if each.attempt != attempt]
        self._busy.tell(self._attempts())
        self._man()

    def ask_to_leave(self) -> None:
        self._leaving = True
        for worker in self._workers:
            worker.process.terminate()
        for each in self._adopted:
            process.end(each.owner, signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._bell.recv(1 << 10)
            else:
                self._listen(key.data)
        self._man()

    def wake(self) -> None:
        with suppress(BlockingIOError, OSError):  # full: it rings already; closed: nobody listens any more
            self._button.send(b"\0")

    def close(self) -> None:
        self._leaving = True
        for worker in self._workers:
            worker.process.kill()
            self._bury(worker)
        self._workers.clear()
        self._selector.close()
        self._bell.close()
        self._button.close()
        self._busy.close()

    # the processes

    def _spawn(self) -> _Worker:
        child = subprocess.Popen(
            [sys.executable, "-m", "service.jobs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment(self.settings, cpus=1),
            start_new_session=True,  # it outlives us, and Ctrl-C is for the server only
        )
        worker = _Worker(child, process.owner_of(child.pid), monotonic_s())
        assert child.stdout is not None
        self._selector.register(child.stdout, selectors.EVENT_READ, worker)
        return worker

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 12)
        if not data:  # its end of the pipe is closed: it is dead, or about to be
            self._selector.unregister(worker.process.stdout)
            return
        *lines, worker.said = (worker.said + data).split(b"\n")
        for line in lines:
            worker.ready = True
            worker.finished = worker.finished or line == b"done"

    def _attempts(self) -> int:
        return sum(worker.attempt is not None for worker in self._workers) + len(self._adopted)

    def _idle(self) -> _Worker | None:
        ready = (each for each in self._workers if each.ready and each.attempt is None and each.process.poll() is None)
        return next(ready, None)

    def _holder(self, attempt: Attempt) -> _Worker | None:
        return next((each for each in self._workers if each.attempt == attempt), None)

    def _man(self) -> None:
        """Fills every place that no living worker has."""
        if self._leaving:
            return
        if not self._tidy and not self._adopted:
            self._tidy = True
            process.forget_words(self.settings.data_dir)
        for index, worker in enumerate(self._workers):
            stillborn = not worker.ready and monotonic_s() < worker.born_s + _REST_S
            if worker.attempt is None and worker.process.poll() is not None and not stillborn:
                self._bury(worker)
                self._workers[index] = self._spawn()
        while len(self._workers) < self.settings.workers:
            self._workers.append(self._spawn())

    def _bury(self, worker: _Worker) -> None:
        child = worker.process
        child.wait()
        assert child.stdout is not None
        assert child.stdin is not None
        with suppress(KeyError):
            self._selector.unregister(child.stdout)
        child.stdout.close()
        child.stdin.close()
        process.words_file(self.settings.data_dir, child.pid).unlink(missing_ok=True)

    def _ended(self, worker: _Worker) -> Gone | None:
        code = worker.process.poll()
        if code is None:
            return None
        words = process.last_words(self.settings.data_dir, worker.owner.pid)
        if code != -signal.SIGKILL:
            return Gone(told=False, words=f"{words}\n{ending(code)}".strip())
        return _killed(worker.oom_kills, ending(code))

    def _vanished(self, adopted: _Adopted) -> Gone:
        """A crash leaves words; who is killed has no time for any."""
        how = "the worker process of an earlier server ended"
        words = process.last_words(self.settings.data_dir, adopted.owner.pid)
        return Gone(told=False, words=f"{words}\n{how}") if words else _killed(adopted.oom_kills, how)


def _killed(oom_kills: int, how: str) -> Gone:
    """By the system, when it has killed more processes for their memory than `oom_kills` meanwhile; else by anybody."""
    if process.oom_kills() > oom_kills:
        words = "the system killed the worker: out of memory"
        return Gone(told=False, words=words, code="out_of_memory", lives=_HUNGRY_LIVES)
    return Gone(told=False, words=how, lives=_KILLED_LIVES)


def ending(code: int) -> str:
    """A sentence on how a process ended; `code` is negative for a signal."""
    return f"the worker process ended by {signal.Signals(-code).name if code < 0 else f'exit status {code}'}"


def environment(settings: Settings, cpus: int) -> dict[str, str]:
    """A worker's environment: our settings, the package's place, and as many BLAS threads as it has cpus.

    Spinning BLAS threads on a busy machine cost more than anything else here (39 times, FAULTS.md A4), and NumPy reads
    these names only once, as it is imported.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {PREFIX + name.upper(): str(value) for name, value in settings.model_dump().items()}
    given[PREFIX + "DATA_DIR"] = str(settings.data_dir.absolute())
    home = str(Path(service.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return inherited | given | dict.fromkeys(THREAD_SETTINGS, str(cpus)) | {"PYTHONPATH": path}
