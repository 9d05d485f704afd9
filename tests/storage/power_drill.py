"""Power cuts by the thousand: records a store at work, makes the disks it could leave, opens each with the real store.

`python tests/storage/power_drill.py --images 10000` for the whole drill; the default tests make some hundred images.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import power_work
from power_disk import Disk, Fate, Operation, What, recorded, written
from sqlalchemy import Engine

from service.errors import NotFound
from service.storage import Idempotency, Store

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_FAST = Path("/dev/shm")  # the images are many and live for milliseconds
_FAST_BYTES = 1 << 30
MOST = 10_000  # more than there are
Promise = Mapping[str, Any]
Lying = Callable[[str], bool]


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where there is room for one."""
    fast = _FAST.is_dir() and shutil.disk_usage(_FAST).free > _FAST_BYTES
    return tempfile.TemporaryDirectory(prefix="power-", dir=_FAST if fast else None)


@dataclass(frozen=True)
class Recording:
    """What was done and promised: a promise stands where it was given between the operations."""

    steps: tuple[Operation | Promise, ...]

    @property
    def operations(self) -> list[int]:
        return [place for place, step in enumerate(self.steps) if isinstance(step, Operation)]


def compiled(into: Path) -> Path:
    """The recorder. Raises OSError, CalledProcessError where there is no C compiler."""
    shim = into / "power_shim.so"
    compiler = os.environ.get("CC", "cc")
    source = str(HERE / "power_shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-o", str(shim), source], check=True)
    return shim


def record(words: Sequence[str], folder: Path) -> Recording:
    """Runs a program with the recorder; it is to work below `ROOT`, its first word. Raises when a write escaped it."""
    root, log = folder.resolve() / "root", folder.resolve() / "log"
    root.mkdir()
    environ = {
        "LD_PRELOAD": str(compiled(folder)), "POWER_ROOT": str(root), "POWER_LOG": str(log), "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [sys.executable, *words[:1], str(root), *words[1:]]
    subprocess.run(command, check=True, env=os.environ | environ, timeout=170)
    operations = list(recorded(log, root))
    _nothing_escaped(operations, root)
    return Recording(tuple(_with_promises(operations)))


def _with_promises(operations: Sequence[Operation]) -> Iterator[Operation | Promise]:
    """Writes to the file of promises become the promises."""
    paper: set[int] = set()
    for operation in operations:
        if operation.path == power_work.PROMISES:
            paper.add(operation.inode)
        elif operation.inode in paper and operation.what is What.WRITE:
            yield from map(json.loads, operation.data.splitlines())
        else:
            yield operation


def _nothing_escaped(operations: Sequence[Operation], root: Path) -> None:
    """What was recorded must lead to what is there, to the byte.

    But for the shared memory beside the database, which is mapped and made anew, and for room that was only set aside.
    """
    disk = Disk()
    for operation in operations:
        disk.do(operation)
    there = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
    found = {path: content for path, content in disk.whole().items() if path and not path.endswith("-shm")}
    assert found.keys() == {path for path in there if not path.endswith("-shm")}
    files = {path: content.rstrip(b"\0") for path, content in found.items() if content is not None}
    wrong = [path for path, content in files.items() if content != there[path].read_bytes().rstrip(b"\0")]
    assert wrong == [], "the recorder does not see every write"


@dataclass
class Verdict:
    """What was wrong in how many images, and the first of each kind in words."""

    images: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, found: Mapping[str, str], image: str) -> None:
        self.images += 1
        for what, example in found.items():
            self.wrong[what] += 1
            self.examples.setdefault(what, f"{image}: {example}")

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(self.images + other.images, self.wrong + other.wrong, other.examples | self.examples)


def cut(
    recording: Recording, images: int, seed: int, *, part: int = 0, parts: int = 1, lying: Lying = lambda path: False,
    enough: Callable[[Verdict], bool] = lambda verdict: False,
) -> Verdict:  # fmt: skip
    """Cuts the power `images` times, evenly over the recording, and looks at what is left (`part` of `parts` of them).

    `lying`: paths whose fsync does nothing. `enough`: no more images are needed.
    """
    random, verdict = Random(f"{seed} {part}"), Verdict()
    places = recording.operations
    moments = Counter(places[number * len(places) // images] for number in range(images) if number % parts == part)
    disk, promises = Disk(lying), Promised()
    with scratch() as folder:
        for place, step in enumerate(recording.steps):
            if isinstance(step, Operation):
                disk.do(step)
            else:
                promises.given(step)
            for number in range(moments[place]):
                image = Path(folder) / f"{place}-{number}"
                written(disk.left(Fate.drawn(random)), image)
                verdict.add(promises.broken(image / "data"), image.name)
                shutil.rmtree(image)
            if enough(verdict):
                break
    return verdict


@dataclass
class Promised:
    """What the store has promised so far."""

    opened: bool = False
    datasets: set[str] = field(default_factory=set)
    jobs: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    alias: int = 0
    going: set[str] = field(default_factory=set)  # jobs and runs that are about to be deleted
    gone: set[str] = field(default_factory=set)

    def given(self, promise: Promise) -> None:
        match promise:
            case {"job": job, "number": number}:
                self.jobs[job] = number
            case {"run": run, "points": points}:
                self.points[run] = points
            case {"run": run, "state": step}:
                self.states[run] = step
            case {"run": run, "model": blob}:
                self.models[run] = blob
            case {"version": version, "run": run}:
                self.versions[version] = run
            case {"alias": version}:
                self.alias = version
            case {"dataset": dataset}:
                self.datasets.add(dataset)
            case {"deleting": job, "run": run}:
                self.going |= {job, run}
            case {"deleted": job}:
                self.gone.add(job)
            case _:
                self.opened = promise["opened"]

    def broken(self, folder: Path) -> dict[str, str]:
        """What is lost or torn in an image, with an example."""
        if not self.opened and not folder.exists():
            return {}
        try:
            store = opened(folder)
        except Exception as error:
            return {"does not open": repr(error)}
        try:
            checkup = store.check()
            torn = {finding.code: f"{finding.where}: {finding.message}" for finding in checkup.findings}
            return torn if "database_damaged" in torn else torn | dict(self._lost(store))
        except Exception as error:
            return {"cannot be read": repr(error)}
        finally:
            store.close()

    def _lost(self, store: Store) -> Iterator[tuple[str, str]]:
        jobs = {job.id: job.spec["number"] for job in store.jobs.list(limit=MOST).data}
        for job in self.jobs.keys() - jobs.keys() - self.going:
            yield "lost job", job
        for job in self.jobs.keys() & jobs.keys():
            if job in self.gone:
                yield "a deleted job is back", job
            if jobs[job] != self.jobs[job]:
                yield "another job", job
        for job, number in [*self.jobs.items()][-1:]:
            if job not in self.going and replayed(store, number) != job:
                yield "a key that made two jobs", job
        for dataset in self.datasets - {row.id for row in store.datasets.list().data}:
            yield "lost data set", dataset
        yield from self._lost_of_runs(store)
        yield from self._lost_of_models(store)

    def _lost_of_runs(self, store: Store) -> Iterator[tuple[str, str]]:
        runs = {run.id: run for run in store.runs.list(limit=MOST).data}
        curves = store.metrics.query(list(runs), max_points=1_000_000)
        for run in self.points.keys() - runs.keys() - self.going:
            yield "lost run", run
        for run in runs.keys() - self.going:
            points, states = curves[run].get("loss"), store.runs.checkpoints(run, "state")
            n = 0 if points is None else len(points.steps)
            if n < self.points.get(run, 0):
                yield "lost points", f"{run}: {n} of {self.points[run]}"
            if points is not None and points.steps.tolist() != list(range(n)):
                yield "holes in the curve", run
            if points is not None and (points.values != power_work.values(points.steps)).any():
                yield "wrong points", run
            if self.states.get(run, 0) > (states[0].step if states else 0):
                yield "lost checkpoint", f"{run}: {self.states[run]}"
            if states and states[0].step > n:
                yield "a checkpoint before its points", run
            if run in self.models and (runs[run].status, runs[run].model_blob) != ("succeeded", self.models[run]):
                yield "lost end of a run", run

    def _lost_of_models(self, store: Store) -> Iterator[tuple[str, str]]:
        for version, run in self.versions.items():
            try:
                if store.models.resolve(f"model:{version}").run_id != run:
                    yield "another model version", str(version)
            except NotFound:
                yield "lost model version", str(version)
        if self.alias and store.models.aliases("model").get("best", 0) < self.alias:
            yield "lost alias", str(self.alias)


_FIRST: list[Engine] = []


def opened(folder: Path) -> Store:
    """The store of an image, by the door that all use.

    Its statements are those that SQLAlchemy compiled for the first image: anew for each, that takes half of the time.
    """
    store = power_work.opened(folder)
    engine, writer = store._database._engine, store._database._writer
    if not _FIRST:
        _FIRST.append(engine)
    for each in (engine, writer):
        each.dialect, each._compiled_cache = _FIRST[0].dialect, _FIRST[0]._compiled_cache
    return store


def replayed(store: Store, number: int) -> str:
    """The job that a client gets who sends its request again."""
    key = Idempotency(f"key-{number}", "0" * 64)
    return store.jobs.submit(type="train", spec={"number": number}, idempotency_key=key).id


def drill(images: int, jobs: int, seed: int, processes: int) -> Verdict:
    """Records once, then cuts in several processes."""
    with scratch() as folder:
        recording = record([str(HERE / "power_work.py"), str(jobs)], Path(folder))
    one = partial(cut, recording, images, seed, parts=processes)
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        asked = [pool.apply_async(one, kwds={"part": part}) for part in range(processes)]
        return sum((each.get() for each in asked), Verdict())


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=10_000)
    words.add_argument("--jobs", type=int, default=30)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = words.parse_args()
    began_s = time.monotonic()
    verdict = drill(given.images, given.jobs, given.seed, given.processes)
    sys.stdout.write(f"{verdict.images} images in {time.monotonic() - began_s:.0f} s\n")
    for what, count in verdict.wrong.most_common():
        sys.stdout.write(f"  {count:6} {what}, e.g. {verdict.examples[what]}\n")
    sys.stdout.write("WRONG\n" if verdict.wrong else "nothing lost, nothing torn\n")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
