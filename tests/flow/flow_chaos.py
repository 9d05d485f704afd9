"""Kill -9 at random, over the server and its workers, while clients submit and try again; then the books are checked.

`python tests/flow/flow_chaos.py --kills 1000` for the whole drill; the default tests run a short one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from service import storage
from service.storage import FINAL, Store

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 5  # different jobs; each must come out the same whenever it is submitted
SETTLE_S = 120.0  # after the last kill, for what still waits
_ODDS = (1, 2)  # server, a worker


def job(seed: int) -> dict[str, Any]:
    """A training of about half a second with everything in it that a resume could get wrong."""
    layers = [
        {"kind": "flatten"},
        {"kind": "dense", "units": 32, "activation": "relu"},
        {"kind": "dropout", "rate": 0.2},
        {"kind": "dense", "units": 10, "activation": "softmax"},
    ]
    spec = {
        "dataset": {"sample": "digits", "validation": 0.1},
        "network": {"layers": layers},
        "training": {"epochs": 60, "batch_size": 16, "seed": seed},
    }
    return {"type": "train", "spec": spec}


@dataclass
class Books:
    """What the drill saw."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)  # key: (job id, seed)
    wrong: list[str] = field(default_factory=list)
    runs_resumed: int = 0
    points: int = 0
    seconds: float = 0.0


@dataclass
class Drill:
    """One server's life, over and over."""

    folder: Path
    port: int
    chance: random.Random
    books: Books = field(default_factory=Books)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = self._start()
        self.store: Store = storage.open(f"sqlite:///{self.folder / 'netwright.db'}", self.folder)

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["serve", "--port", str(self.port), "--data-dir", str(self.folder), "--workers", "2"]
        env = os.environ | {"NETWRIGHT_CHECKPOINT_S": "0.1", "NETWRIGHT_LOG_LEVEL": "error"}
        command = [sys.executable, "-m", "service", *words]
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, kills: int, pause_s: float, clients: int) -> Books:
        began_s = time.monotonic()
        expected = self._undisturbed()
        threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        while sum(self.books.kills.values()) < kills:
            time.sleep(self.chance.uniform(0.2, 1.8) * pause_s)
            self._kill()
        self.over.set()
        for thread in threads:
            thread.join()
        self._settle()
        self._check(expected)
        self.books.seconds = time.monotonic() - began_s
        return self.books

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait()
        self.store.close()

    def _undisturbed(self) -> dict[int, tuple[str | None, dict[str, Any]]]:
        """By seed: the hash and the points of a run that nobody disturbs."""
        ids = {seed: self._post(f"calm-{seed}", seed) for seed in range(SEEDS)}
        self._settle()
        return {seed: self._outcome(job_id) for seed, job_id in ids.items()}

    def _submit(self, number: int) -> None:
        """A client: submits, tries again until it is answered, goes on."""
        count = 0
        while not self.over.is_set():
            seed, key = (number + count) % SEEDS, f"client-{number}-{count}"
            self.books.acknowledged[key] = self._post(key, seed), seed
            count += 1
            self.over.wait(0.6)

    def _post(self, key: str, seed: int) -> str:
        while True:
            try:
                answer = httpx.post(f"{self.url}/v1/jobs", json=job(seed), headers={"Idempotency-Key": key}, timeout=30)
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                if answer.status_code < 500 and answer.status_code != 429:
                    raise AssertionError(answer.text)
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def _kill(self) -> None:
        workers = [live.owner.pid for live in self.store.runs.live()]
        who = self.chance.choices(("server", "worker"), _ODDS)[0]
        if who == "server":
            self.server.kill()
            self.server.wait()
            self.server = self._start()
        elif workers:
            try:
                os.kill(self.chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                return
        else:
            return
        self.books.kills[who] += 1

    def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while any(each.status not in FINAL for each in self._jobs()):
            if time.monotonic() > deadline:
                self.books.wrong.append("not everything came to an end")
                return
            time.sleep(0.1)

    def _jobs(self) -> list[storage.Job]:
        found: list[storage.Job] = []
        after = None
        while True:
            page = self.store.jobs.list(after=after, limit=1000)
            found += page.data
            after = page.next
            if after is None:
                return found

    def _outcome(self, job_id: str) -> tuple[str | None, dict[str, Any]]:
        run_id = self.store.jobs.get(job_id).run_ids[0]
        series = self.store.metrics.series(run_id)
        points = {name: (s.steps.tolist(), s.values.tolist()) for name, s in series.items() if name != "rows_per_s"}
        return self.store.runs.get(run_id).weights_sha256, points

    def _check(self, expected: dict[int, tuple[str | None, dict[str, Any]]]) -> None:
        """Every acknowledged job is there, once, succeeded, with the bits and points of an undisturbed run."""
        jobs = {each.id: each for each in self._jobs()}
        ids = [job_id for job_id, _ in self.books.acknowledged.values()]
        if len(set(ids)) != len(ids):
            self.books.wrong.append("two keys got one job")
        if len(jobs) != len(ids) + SEEDS:
            self.books.wrong.append(f"{len(jobs) - SEEDS} jobs for {len(ids)} acknowledged submits")
        for job_id, seed in self.books.acknowledged.values():
            self._check_one(jobs.get(job_id), job_id, expected[seed])

    def _check_one(self, found: storage.Job | None, job_id: str, expected: tuple[str | None, dict[str, Any]]) -> None:
        if found is None or found.status != "succeeded":
            self.books.wrong.append(f"{job_id}: {found.status + ' ' + str(found.error) if found else 'lost'}")
            return
        sha256, points = self._outcome(job_id)
        self.books.points += sum(len(steps) for steps, _ in points.values())
        self.books.runs_resumed += any(each.kind == "resumed" for each in self.store.events.after(0, job_id=job_id))
        if sha256 != expected[0]:
            self.books.wrong.append(f"{job_id}: other weights after {found.attempt} lives")
        if points != expected[1]:
            self.books.wrong.append(f"{job_id}: other points after {found.attempt} lives")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def drill(folder: Path, *, kills: int, pause_s: float = 0.5, clients: int = 2, seed: int = 0) -> Books:
    """The whole drill on a new folder."""
    chaos = Drill(folder, free_port(), random.Random(seed))
    try:
        return chaos.run(kills, pause_s, clients)
    finally:
        chaos.over.set()
        chaos.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pause-s", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        books = drill(Path(folder), kills=asked.kills, pause_s=asked.pause_s, seed=asked.seed)
    sys.stdout.write(
        f"{sum(books.kills.values())} kills {dict(books.kills)} in {books.seconds:.0f} s: "
        f"{len(books.acknowledged)} jobs acknowledged, {books.runs_resumed} resumed, {books.points} points\n"
    )
    sys.stdout.writelines(f"WRONG {line}\n" for line in books.wrong)
    return 1 if books.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
