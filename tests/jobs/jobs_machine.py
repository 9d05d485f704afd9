"""A store, a supervisor and real worker processes, as the server wires them, without HTTP."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service import storage
from service.config import Settings
from service.jobs import Executor, LocalExecutor, Supervisor
from service.specs import admit, parse
from service.storage import FINAL, Event, Job, Live, Run, Store

PATIENCE_S = 60.0  # on a loaded machine; what must be quick is measured by itself
LAYERS = [
    {"kind": "flatten"},
    {"kind": "dense", "units": 64, "activation": "relu"},
    {"kind": "dropout", "rate": 0.2},
    {"kind": "dense", "units": 10, "activation": "softmax"},
]

EXECUTORS: dict[str, Callable[[Settings], Executor]] = {"local": LocalExecutor}
"""Every executor passes the same drill; another one is a line here."""


def digits(epochs: int = 3, **changes: Any) -> dict[str, Any]:
    """A small job with everything that must survive a crash: momentum, dropout, shuffling, validation."""
    training = {"epochs": epochs, "batch_size": 16, "seed": 5} | changes.pop("training", {})
    spec = {
        "dataset": {"sample": "digits", "validation": 0.1, "test": 0.1},
        "network": {"layers": LAYERS},
        "training": training,
    }
    return {"type": "train", "spec": spec | changes}


LONG = 250  # epochs of `digits` that take about a second, two without loops in C


@dataclass
class Machine:
    """One server's inside. `poll` until something is so; everything else is the store's word."""

    settings: Settings
    executor_kind: str = "local"
    store: Store = field(init=False)
    supervisor: Supervisor | None = None

    def __post_init__(self) -> None:
        self.store = storage.open(self.settings.url, self.settings.data_dir)

    def start(self) -> Supervisor:
        executor = EXECUTORS[self.executor_kind](self.settings)
        self.supervisor = Supervisor(self.store, executor, self.settings.lease_s)
        self.supervisor.start()
        return self.supervisor

    def drain(self) -> None:
        if self.supervisor is not None:
            self.supervisor.drain()
            self.supervisor = None

    def submit(self, document: Mapping[str, Any]) -> Job:
        job = parse(document)
        admitted = admit(job, self.store, self.settings.max_model_bytes)
        submitted = self.store.jobs.submit(
            type=job.type, spec=admitted.spec, name=job.name, tags=job.tags, dataset_id=admitted.dataset_id,
            priority=job.priority, memory_bytes=admitted.memory_bytes, model_blob=admitted.model_blob,
            trials=admitted.trials,
        )  # fmt: skip
        self.poke()
        return submitted

    def stop(self, job: Job, how: Any) -> None:
        self.store.jobs.request_stop(job.id, how)
        self.poke()

    def poke(self) -> None:
        if self.supervisor is not None:
            self.supervisor.poke()

    def poll(self, so: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := so()):
            assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
            time.sleep(0.005)
        return found

    def until(self, job: Job, *status: str, timeout_s: float = PATIENCE_S) -> Job:
        def reached() -> Job | None:
            now = self.store.jobs.get(job.id)
            assert now.status in status or now.status not in FINAL, f"{now.status}: {now.error}"
            return now if now.status in status else None

        found: Job = self.poll(reached, timeout_s)
        return found

    def run(self, job: Job) -> Run:
        return self.store.runs.get(job.run_ids[0])

    def events(self, job: Job, kind: str | None = None) -> list[Event]:
        return [each for each in self.store.events.after(0, job_id=job.id) if kind in (None, each.kind)]

    def points(self, job: Job) -> dict[str, tuple[list[int], list[float]]]:
        """Every point of every series that the same job must give again; how fast it went is not one of them."""
        series = self.store.metrics.series(job.run_ids[0])
        return {name: (s.steps.tolist(), s.values.tolist()) for name, s in series.items() if name != "rows_per_s"}

    def live(self, job: Job) -> Live:
        """The attempt that is training, once it has told of a first step."""

        def found() -> Live | None:
            mine = [each for each in self.store.runs.live() if each.attempt.run_id == job.run_ids[0]]
            return mine[0] if mine and self.run(job).step > 0 else None

        live: Live = self.poll(found)
        return live

    def saved(self, job: Job, more_than: int = 0) -> int:
        """The step of the newest state checkpoint, once there is one beyond `more_than`."""

        def step() -> int | None:
            states = self.store.runs.checkpoints(job.run_ids[0], "state")
            return states[0].step if states and states[0].step > more_than else None

        found: int = self.poll(step)
        return found


def gone(pid: int) -> bool:
    """Whether the process is no more, or only waits to be buried."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return True


def freeze(machine: Machine, pid: int, *, writing: bool = False) -> None:
    """Stops the process at a moment when it holds the store's lock, or when it does not."""

    def so() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if _locked(machine) == writing:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    machine.poll(so)


def _locked(machine: Machine) -> bool:
    database = sqlite3.connect(machine.settings.data_dir / "netwright.db", timeout=0.2, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        database.close()
    return False


Build = Callable[..., Machine]


@contextmanager
def machines(folder: Path) -> Iterator[Build]:
    """Builds machines on one folder, each with its settings; all that is left is stopped at the end."""
    built: list[Machine] = []

    def build(*, start: bool = True, executor: str = "local", **given: Any) -> Machine:
        usual = {"data_dir": folder, "workers": 1, "checkpoint_s": 0.1, "log_level": "warning"}
        machine = Machine(Settings.model_validate(usual | given), executor)
        built.append(machine)
        if start:
            machine.start()
        return machine

    yield build
    for machine in built:
        for live in machine.store.runs.live():
            if not gone(live.owner.pid):
                os.kill(live.owner.pid, signal.SIGCONT)
        machine.drain()
        machine.store.close()
