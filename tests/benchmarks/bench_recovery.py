"""How soon what was promised happens when somebody dies, freezes or is told to leave; `make bench-recovery`.

Each row is measured from the signal or the request to the moment the store tells of its end.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service import storage
from service.client import Client
from service.storage import Live, Store

pytestmark = pytest.mark.benchmark
ROUNDS = 5
PATIENCE_S = 60.0
QUICK = {"NETWRIGHT_CHECKPOINT_S": "0.2"}
JOB = {
    "type": "train",
    "spec": {
        "dataset": {"sample": "digits", "validation": 0.1},
        "network": {
            "layers": [
                {"kind": "flatten"},
                {"kind": "dense", "units": 64, "activation": "relu"},
                {"kind": "dense", "units": 10, "activation": "softmax"},
            ]
        },
        "training": {"epochs": 1_000_000, "batch_size": 16},
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = storage.open(f"sqlite:///{tmp_path / 'data' / 'netwright.db'}", tmp_path / "data")
    yield store
    store.close()


def until(so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := so()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


def training(store: Store) -> Live:
    """The attempt at work, once it has published a state."""

    def found() -> Live | None:
        live = next(iter(store.runs.live()), None)
        return live if live and store.runs.checkpoints(live.attempt.run_id, "state") else None

    live: Live = until(found)
    return live


def test_a_dead_worker_is_replaced(serve: Any, store: Store, tmp_path: Path) -> None:
    with Client(serve(tmp_path / "data", "--workers", "2", **QUICK).url) as client:
        took_s = []
        for _ in range(ROUNDS):
            job = client.submit(JOB)
            before = training(store)
            began_s = time.monotonic()
            os.kill(before.owner.pid, signal.SIGKILL)
            until(partial(taken_over, store, before))
            took_s.append(time.monotonic() - began_s)
            ended(client, job["id"])
    show("a killed worker is replaced", took_s, 2)


CANCELS = {"that is heeded": 1.0, "of a frozen worker": 5.0, "of one frozen with the store's lock (its lease)": 11.0}


@pytest.mark.parametrize("how", CANCELS)
def test_a_cancel_is_carried_out(how: str, serve: Any, store: Store, tmp_path: Path) -> None:
    with Client(serve(tmp_path / "data", "--workers", "2", **QUICK).url) as client:
        took_s = []
        for _ in range(ROUNDS):
            job = client.submit(JOB)
            worker = training(store).owner.pid
            until(partial(store.runs.checkpoints, job["run_id"], "model"))
            if "frozen" in how:
                until(partial(frozen, worker, tmp_path / "data" / "netwright.db", "lock" in how))
            began_s = time.monotonic()
            ended(client, job["id"])
            took_s.append(time.monotonic() - began_s)
            assert store.runs.get(job["run_id"]).model_blob, "the best model stays"
    show(f"a cancel {how}", took_s, CANCELS[how])


def test_a_server_told_to_leave_gives_its_run_back(serve: Any, store: Store, tmp_path: Path) -> None:
    took_s, back_s = [], []
    server = serve(tmp_path / "data", **QUICK)
    with Client(server.url) as client:
        job = client.submit(JOB)
    for _ in range(ROUNDS):
        training(store)
        began_s = time.monotonic()
        assert server.stop() == 0
        took_s.append(time.monotonic() - began_s)
        now = store.jobs.get(job["id"])
        assert (now.status, now.attempt) == ("queued", 0)
        server = serve(tmp_path / "data", **QUICK)
        began_s = time.monotonic()
        until(store.runs.live)
        back_s.append(time.monotonic() - began_s)
    show("SIGTERM: checkpoint, requeue, exit", took_s, 3)
    show("its run goes on, after the next server answers", back_s)


def taken_over(store: Store, before: Live) -> bool:
    return any(live.attempt.token > before.attempt.token for live in store.runs.live())


def frozen(worker: int, database: Path, writing: bool) -> bool:
    """Stops the process, if that is a moment when it holds the store's lock, or one when it does not."""
    os.kill(worker, signal.SIGSTOP)
    if locked(database) == writing:
        return True
    os.kill(worker, signal.SIGCONT)
    return False


def locked(database: Path) -> bool:
    """Whether a writer cannot begin."""
    with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        return False


def ended(client: Client, job_id: str) -> None:
    client.cancel(job_id)
    until(lambda: client.job(job_id)["status"] == "cancelled")


def show(what: str, took_s: list[float], promised_s: float = PATIENCE_S) -> None:
    median, most = statistics.median(took_s), max(took_s)
    sys.stdout.write(f"\n{what:48} median {median:5.2f} s   most {most:5.2f} s   at most {promised_s:g} s")
    assert most <= promised_s
