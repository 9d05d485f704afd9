"""Processes that use one store at once, forked after the imports so that many of them start fast; run by the tests.

`swarm.py crowd FOLDER`: writers and readers side by side. `swarm.py killed FOLDER SECONDS SEED`: one writer after the
other, each killed by SIGKILL at a random moment; the store must keep all that was acknowledged. Both end with one JSON
object on standard output.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from service import clock, storage
from service.storage import Owner, Report, Store

WRITERS, READERS, JOBS, REPORTS = 16, 2, 4, 5


def opened(folder: Path) -> Store:
    return storage.open(f"sqlite:///{folder / 'store.db'}", folder)


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Runs `work` with the writing end of a pipe in a child; the child's pid and the reading end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    code = 1
    try:
        work(writing)
        code = 0
    except BaseException:
        os.write(writing, json.dumps({"trace": traceback.format_exc()[-1500:]}).encode() + b"\n")
    os._exit(code)


def collected(reading: int) -> list[Any]:
    with os.fdopen(reading) as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


# A crowd


def write_much(folder: Path, writing: int) -> None:
    """Submits jobs and takes whatever is in the queue through a whole life, timing every verb."""
    store, waits = opened(folder), []
    me = Owner(os.getpid(), "", clock.boot_id())

    def timed(verb: Callable[..., Any], *given: Any, **named: Any) -> Any:
        start = time.monotonic()
        result = verb(*given, **named)
        waits.append(time.monotonic() - start)
        return result

    for _ in range(JOBS):
        timed(store.jobs.submit, type="train", spec={"by": os.getpid()}, max_queue=10_000)
        attempt = timed(store.runs.claim, me, 60.0)
        if attempt is None:
            continue
        for step in range(REPORTS):
            steps = np.arange(step * 100, step * 100 + 100)
            report = Report(
                series={"loss": (steps, steps * 1.0)}, events=(("epoch", {"epoch": step}),), step=int(steps[-1])
            )
            timed(store.runs.report, attempt, report)
        timed(store.runs.finish, attempt, "succeeded")
    store.close()
    os.write(writing, json.dumps({"writes": len(waits), "longest_s": max(waits)}).encode() + b"\n")


def read_much(folder: Path, writing: int, stop: Path) -> None:
    store, waits = opened(folder), []
    while not stop.exists():
        start = time.monotonic()
        for run in store.runs.list(sort="-best.loss", limit=50).data:
            summary = run.summary.get("loss", {"n": 0})
            assert summary["n"] % 100 == 0
        waits.append(time.monotonic() - start)
        time.sleep(0.005)
    store.close()
    os.write(writing, json.dumps({"reads": len(waits), "median_s": sorted(waits)[len(waits) // 2]}).encode() + b"\n")


def crowd(folder: Path) -> dict[str, Any]:
    opened(folder).close()
    stop = folder / "stop"
    writers = [forked(lambda writing: write_much(folder, writing)) for _ in range(WRITERS)]
    readers = [forked(lambda writing: read_much(folder, writing, stop)) for _ in range(READERS)]
    said = [line for _, reading in writers for line in collected(reading)]
    stop.touch()
    said += [line for _, reading in readers for line in collected(reading)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in writers + readers]
    store = opened(folder)
    jobs = store.jobs.list(limit=1000).data
    waiting = [job for job in jobs if job.status == "queued"]
    ended = [store.runs.get(job.run_ids[0]) for job in jobs if job.status == "succeeded"]
    events = store.events.after(0, limit=100_000)
    result = {
        "codes": codes, "traces": [line["trace"] for line in said if "trace" in line], "jobs": len(jobs),
        "ended": len(ended), "waiting": len(waiting), "attempts": sorted({job.attempt for job in jobs}),
        "points": sorted({run.summary["loss"]["n"] for run in ended}), "events": len(events),
        "longest_s": max((line["longest_s"] for line in said if "longest_s" in line), default=0.0),
        "median_read_s": max((line["median_s"] for line in said if "median_s" in line), default=0.0),
    }  # fmt: skip
    store.close()
    return result


# One killed after the other


def write_until_killed(folder: Path, writing: int) -> None:
    """Takes the lost run again where its points end, as a worker from its checkpoint; says what is acknowledged."""
    store = opened(folder)
    me = Owner(os.getpid(), "", clock.boot_id())
    for live in store.runs.live():
        store.runs.lose(live.attempt, "killed", max_attempts=1 << 30)
    while True:
        attempt = store.runs.claim(me, 60.0)
        if attempt is None:
            job = store.jobs.submit(type="train", spec={})
            os.write(writing, json.dumps({"job": job.id}).encode() + b"\n")
            continue
        state = store.runs.checkpoints(attempt.run_id, "state")
        step = state[0].step if state else 0
        while step < 3000:
            steps = np.arange(step, step + 50)
            blob = store.blobs.put({"step": np.array(step + 50)}, {})
            point = storage.Checkpoint(
                attempt.run_id, step + 50, "state", blob.sha256, blob.bytes, "", 0, clock.now()
            )  # fmt: skip
            report = Report(series={"loss": (steps, np.sqrt(steps))}, step=step + 50, checkpoints=(point,))
            store.runs.report(attempt, report)
            step += 50
            os.write(writing, json.dumps({"run": attempt.run_id, "step": step}).encode() + b"\n")
        store.runs.finish(attempt, "succeeded")
        os.write(writing, json.dumps({"ended": attempt.run_id}).encode() + b"\n")


def killed(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    opened(folder).close()
    rng, end = random.Random(seed), time.monotonic() + seconds
    acknowledged: list[dict[str, Any]] = []
    kills = 0
    while time.monotonic() < end:
        pid, reading = forked(lambda writing: write_until_killed(folder, writing))
        select.select([reading], [], [], 10.0)  # it has begun
        time.sleep(rng.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
        acknowledged += collected(reading)
    return checked(folder, acknowledged) | {"kills": kills, "acknowledged": len(acknowledged)}


def checked(folder: Path, acknowledged: list[dict[str, Any]]) -> dict[str, Any]:
    """What of the acknowledged is missing, doubled or wrong; all must be empty."""
    store = opened(folder)
    jobs = {job.id for job in store.jobs.list(limit=1000).data}
    steps: dict[str, int] = {}
    for line in acknowledged:
        if "run" in line:
            steps[line["run"]] = max(line["step"], steps.get(line["run"], 0))
    broken, blobs = [], []
    for run_id, step in steps.items():
        loss = store.metrics.series(run_id)["loss"]
        n = len(loss.steps)
        if n < step or loss.steps.tolist() != list(range(n)) or (loss.values != np.sqrt(np.arange(n))).any():
            broken.append(run_id)
        blobs += [point.blob for point in store.runs.checkpoints(run_id) if not store.blobs.verify(point.blob)]
    ends = [line["ended"] for line in acknowledged if "ended" in line]
    result = {
        "traces": [line["trace"] for line in acknowledged if "trace" in line],
        "lost_jobs": sorted({line["job"] for line in acknowledged if "job" in line} - jobs),
        "lost_ends": [run_id for run_id in ends if store.runs.get(run_id).status != "succeeded"],
        "broken_runs": broken, "torn_blobs": blobs, "runs": len(steps),
    }  # fmt: skip
    store.close()
    connection = sqlite3.connect(folder / "store.db")
    result["integrity"] = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return result


if __name__ == "__main__":
    how, where, *rest = sys.argv[1:]
    outcome = crowd(Path(where)) if how == "crowd" else killed(Path(where), float(rest[0]), int(rest[1]))
    json.dump(outcome, sys.stdout)
