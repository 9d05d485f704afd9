"""Kill -9 at random, over the server and its workers, while clients submit and try again; then the books are checked.

`make chaos`, or `python tests/flow/flow_chaos.py --kills 1000`, for the whole drill; the default tests run a short one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from chaos_jobs import JOBS

from service import storage
from service.storage import FINAL, Job, Store

ROOT = Path(__file__).resolve().parents[2]
SETTLE_S = 300.0  # after the last kill, for what still waits
_KILLS_IN_A_FIRST_JOB = 4.0  # on average, in the time that a new server takes to finish one
_ODDS = {"server": 1, "busy worker": 4, "any worker": 1}  # any: also one that starts, idles or outlived its server
_STILLBORN = 0.2  # of the servers killed, those that may not have answered yet

Outcome = tuple[str | None, dict[str, Any]]
"""The hash of a run's weights and its points; how fast it went is not one of them."""


@dataclass
class Books:
    """What the drill saw."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)  # by key: (job's id, number in JOBS)
    lost: Counter[str] = field(default_factory=Counter)  # lives, by the last line of their last words
    wrong: list[str] = field(default_factory=list)
    resumed: int = 0  # runs that went on from a checkpoint
    lives: int = 0
    points: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills.total()} kills {dict(self.kills)} in {self.seconds:.0f} s: {len(self.acknowledged)} jobs "
            f"acknowledged, {self.lives} lives, {self.resumed} runs resumed, {self.points} points; "
            f"{len(self.wrong)} things wrong\nlives lost: {dict(self.lost)}"
        )


@dataclass
class Drill:
    """One server's life, over and over."""

    folder: Path
    chance: random.Random
    books: Books = field(default_factory=Books)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.port = _free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.server = self._start()
        self.store: Store = storage.open(f"sqlite:///{self.folder / 'netwright.db'}", self.folder)

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["serve", "--port", str(self.port), "--data-dir", str(self.folder), "--workers", "2"]
        env = os.environ | {"NETWRIGHT_CHECKPOINT_S": "0.1", "NETWRIGHT_LOG_LEVEL": "error"}
        with open(self.folder.parent / "server.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "service", *words], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def run(self, kills: int, pause_s: float | None, clients: int) -> Books:
        """Kills, as often as a loaded machine lets something live in between; then waits for the end, and looks."""
        began_s = time.monotonic()
        calm = [self._post("calm-0", 0)]
        self._settle()
        pause_s = pause_s or (time.monotonic() - began_s) / _KILLS_IN_A_FIRST_JOB
        calm += [self._post(f"calm-{which}", which) for which in range(1, len(JOBS))]
        self._settle()
        expected = [self._outcomes(self.store.jobs.get(job_id)) for job_id in calm]
        threads = [threading.Thread(target=self._be_client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        told = 0
        while self.books.kills.total() < kills:
            time.sleep(self.chance.uniform(0.1, 1.9) * pause_s)
            self._kill()
            if self.books.kills.total() >= told + 50:
                told = self.books.kills.total()
                sys.stderr.write(f"{time.monotonic() - began_s:.0f} s: {self.books}\n")
        self.over.set()
        for thread in threads:
            thread.join()
        self._settle()
        self._check(expected)
        self.books.seconds = time.monotonic() - began_s
        return self.books

    def stop(self) -> None:
        """Ends the server; nothing that it or those before it started may be left."""
        self.server.terminate()
        self.server.wait()
        self.http.close()
        self.store.close()
        left = list(_workers(self.folder))
        if left:
            self.books.wrong.append(f"processes left behind: {left}")

    # the clients

    def _be_client(self, number: int) -> None:
        """Submits, tries again until it is answered, waits for what it was promised, goes on."""
        count = 0
        while not self.over.is_set():
            which, key = (number + count) % len(JOBS), f"client-{number}-{count}"
            job_id = self._post(key, which)
            self.books.acknowledged[key] = job_id, which
            while not self.over.wait(0.2):
                answer = self._ask("GET", f"/v1/jobs/{job_id}")
                if answer.status_code != 200:
                    self.books.wrong.append(f"{job_id} was promised, and now: {answer.status_code} {answer.text}")
                    break
                if answer.json()["status"] in FINAL:
                    break
            count += 1

    def _post(self, key: str, which: int) -> str:
        while True:
            answer = self._ask("POST", "/v1/jobs", json=JOBS[which], headers={"Idempotency-Key": key})
            if answer.status_code == 202:
                return str(answer.json()["id"])
            if answer.status_code != 429:
                self.books.wrong.append(f"{answer.status_code}: {answer.text}")
            time.sleep(0.2)

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        while True:
            try:
                return self.http.request(method, path, **given)
            except httpx.TransportError:
                time.sleep(0.05)

    # the killer

    def _kill(self) -> None:
        """Whoever is there at this moment; nobody, when it is a worker's turn and none lives."""
        who = self.chance.choices(list(_ODDS), list(_ODDS.values()))[0]
        if who == "server":
            if self.chance.random() > _STILLBORN:
                self._ask("GET", "/health/live")  # waits until it answers, or a loaded machine sees none live
            self.server.kill()
            self.server.wait()
            self.server = self._start()
        elif victims := self._victims(who):
            os.kill(self.chance.choice(victims), signal.SIGKILL)
        else:
            return
        self.books.kills[who] += 1

    def _victims(self, who: str) -> list[int]:
        alive = list(_workers(self.folder))
        return [p for p in alive if p in self._busy()] if who == "busy worker" else alive

    def _busy(self) -> set[int]:
        return {live.owner.pid for live in self.store.runs.live()}

    # the books

    def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while any(self.store.jobs.counts().values()):
            if time.monotonic() > deadline:
                self.books.wrong.append("not everything came to an end")
                return
            time.sleep(0.1)

    def _jobs(self) -> Iterator[Job]:
        page = self.store.jobs.list(limit=1000)
        yield from page.data
        while page.next is not None:
            page = self.store.jobs.list(after=page.next, limit=1000)
            yield from page.data

    def _outcomes(self, job: Job) -> list[Outcome]:
        return [self._outcome(run_id) for run_id in job.run_ids]

    def _outcome(self, run_id: str) -> Outcome:
        series = self.store.metrics.series(run_id)
        points = {name: (s.steps.tolist(), s.values.tolist()) for name, s in series.items() if name != "rows_per_s"}
        return self.store.runs.get(run_id).weights_sha256, points

    def _check(self, expected: list[list[Outcome]]) -> None:
        """Every acknowledged job is there, once, succeeded, with the bits and points of an undisturbed run."""
        wrong, promised = self.books.wrong, [job_id for job_id, _ in self.books.acknowledged.values()]
        jobs = {each.id: each for each in self._jobs()}
        if len(set(promised)) != len(promised):
            wrong.append("two keys got one job")
        if len(jobs) != len(promised) + len(JOBS):
            wrong.append(f"{len(jobs) - len(JOBS)} jobs for {len(promised)} acknowledged submits")
        for job_id, which in self.books.acknowledged.values():
            wrong += [f"{job_id} (job {which}): {fault}" for fault in self._faults(jobs.get(job_id), expected[which])]
        with sqlite3.connect(self.folder / "netwright.db") as database:
            wrong += [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
        database.close()

    def _faults(self, job: Job | None, expected: list[Outcome]) -> Iterator[str]:
        if job is None or job.status != "succeeded":
            yield f"{job.status}, {job.error}" if job else "lost"
            return
        for run_id, outcome in zip(job.run_ids, expected, strict=True):
            yield from self._run_faults(run_id, outcome)

    def _run_faults(self, run_id: str, expected: Outcome) -> Iterator[str]:
        found, run = self._outcome(run_id), self.store.runs.get(run_id)
        events = self.store.events.after(0, run_id=run_id, limit=100_000)
        kinds = Counter(each.kind for each in events)
        self.books.lost.update(e.data["words"].rpartition("\n")[2] for e in events if e.kind == "lost")
        self.books.lives += kinds["started"]
        self.books.resumed += kinds["resumed"] > 0
        self.books.points += sum(len(steps) for steps, _ in found[1].values())
        if found[0] != expected[0]:
            yield f"other weights after {kinds['started']} lives"
        if found[1] != expected[1]:
            yield f"other points after {kinds['started']} lives"
        if kinds["finished"] != 1 or kinds["queued"] != 1:
            yield f"its story is told otherwise than once: {kinds}"
        blobs = [run.model_blob or "", *(c.blob for c in self.store.runs.checkpoints(run_id))]
        if not all(map(self.store.blobs.verify, blobs)):
            yield "a file is not what its name says"


def _workers(folder: Path) -> Iterator[int]:
    """The worker processes that live, known by the files for their last words."""
    for path in (folder / "workers").glob("*.words"):
        try:
            if b"service.jobs" in Path(f"/proc/{path.stem}/cmdline").read_bytes():
                yield int(path.stem)
        except OSError:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def drill(folder: Path, *, kills: int, pause_s: float | None = None, clients: int = 4, seed: int = 0) -> Books:
    """The whole drill in a new folder."""
    chaos = Drill(folder / "data", random.Random(seed))
    try:
        return chaos.run(kills, pause_s, clients)
    finally:
        chaos.over.set()
        chaos.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pause-s", type=float, help="mean time between two kills; else by how fast the machine is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a new folder that is kept; else a temporary one")
    asked = parser.parse_args()
    with nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory() as folder:
        books = drill(Path(folder), kills=asked.kills, pause_s=asked.pause_s, seed=asked.seed)
        log = (Path(folder) / "server.log").read_text("utf-8")
    sys.stdout.write(f"{books}\n")
    sys.stdout.writelines(f"WRONG {line}\n" for line in books.wrong)
    sys.stdout.write(f"{len(log.splitlines())} lines in the servers' log of errors\n{log[-3000:]}")
    return 1 if books.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
