"""What is recorded: a store at work in two processes that write down whatever they were promised; run by the drill.

`power_work.py ROOT JOBS`: one process submits, publishes and deletes, another trains as a worker does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from service import clock, storage
from service.storage import Checkpoint, Idempotency, Owner, Report, Store

STEPS, REPORTS = 40, 6  # points of a report, reports of a run
PROMISES = "promises"  # the file beside the store's folder


class Promises:
    """Written down only after the store has returned. The recorder sees them among all other writes."""

    def __init__(self, root: Path) -> None:
        self._file = os.open(root / PROMISES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def given(self, **promise: Any) -> None:
        os.write(self._file, json.dumps(promise).encode() + b"\n")


def opened(folder: Path) -> Store:
    return storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)


def values(steps: Any) -> Any:
    """Every point of every run, so that a wrong one is seen; up and down, for a new extreme is written otherwise."""
    return np.sqrt(np.asarray(steps) % 27)


def serve(root: Path, jobs: int) -> None:
    """Submits one job after the other, each with its key; publishes some, deletes others."""
    promises, store = Promises(root), opened(root / "data")
    promises.given(opened=True)
    worker = subprocess.Popen([sys.executable, __file__, str(root), "worker"])
    data = store.blobs.put_bytes(b"data of " + str(root).encode())
    row = store.datasets.add(
        name="d", kind="table", rows=1, sha256="a" * 64, blob=data.sha256, bytes=data.bytes, description={}
    )
    promises.given(dataset=row.id)
    ended: list[str] = []
    for number in range(jobs):
        key = Idempotency(f"key-{number}", "0" * 64)
        spec = {"number": number, "padding": "x" * 500}
        job = store.jobs.submit(type="train", spec=spec, dataset_id=row.id, tags=["t"], idempotency_key=key)
        promises.given(job=job.id, number=number)
        ended.append(job.id)
        while store.jobs.counts().get("queued", 0) > 1:
            time.sleep(0.002)
        if number % 3 == 2:
            _publish_or_delete(store, promises, ended, number)
    while store.jobs.counts():
        time.sleep(0.005)
    worker.stdin, worker.stdout = None, None
    worker.terminate()
    worker.wait()
    store.close()


def _publish_or_delete(store: Store, promises: Promises, ended: list[str], number: int) -> None:
    job = store.jobs.get(ended[0])
    if job.status != "succeeded":
        return
    ended.pop(0)
    if number % 2:
        version = store.models.add_version("model", job.run_ids[0])
        promises.given(version=version.version, run=version.run_id)
        store.models.set_alias("model", "best", version.version)
        promises.given(alias=version.version)
    else:
        promises.given(deleting=job.id, run=job.run_ids[0])
        store.jobs.delete(job.id)
        promises.given(deleted=job.id)
        store.collect(grace_s=3600)


def work(root: Path) -> None:
    """Claims and reports as a worker does: points, then the state after them, then what is too old is let go of."""
    promises, store = Promises(root), opened(root / "data")
    me = Owner(os.getpid(), "", clock.boot_id())
    while True:
        attempt = store.runs.claim(me, 60.0)
        if attempt is None:
            time.sleep(0.002)
            continue
        run = attempt.run_id
        for step in range(STEPS, (REPORTS + 1) * STEPS, STEPS):
            for steps in np.split(np.arange(step - STEPS, step), [-1]):  # the last one by itself, as a caller logs it
                told = Report(series={"loss": (steps, values(steps))}, step=int(steps[-1]), phase="training")
                store.runs.report(attempt, told)
                promises.given(run=run, points=int(steps[-1]) + 1)
            blob = store.blobs.put({"state": np.full(300, step, np.float64)}, {"run": run})
            state = Checkpoint(run, step, "state", blob.sha256, blob.bytes, "", attempt.token, clock.now())
            store.runs.report(attempt, Report(checkpoints=(state,)))
            promises.given(run=run, state=step)
            store.blobs.delete(store.runs.retain(run, states=2), grace_s=0)
        model = store.blobs.put({"model": np.full(500, step, np.float32)}, {"run": run})
        store.runs.finish(attempt, "succeeded", model_blob=model.sha256)
        promises.given(run=run, model=model.sha256)


if __name__ == "__main__":
    where, what = Path(sys.argv[1]), sys.argv[2]
    if what == "worker":
        work(where)
    else:
        serve(where, int(what))
