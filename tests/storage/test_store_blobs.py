"""Files named by content: whole or not there, found by nothing but their sha256, deleted only when old and unneeded."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from service import clock, storage, tensors
from service.errors import InvalidData, StorageFull
from service.storage import Announced, Attempt, Checkpoint, Idempotency, Job, Report, Store
from service.storage.blobs import GRACE_S, STALE_S
from service.storage.idempotency import KEPT_S

ARRAYS = {"0.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


def left_over(store: Store) -> list[str]:
    return os.listdir(store.data_dir / "blobs" / "new")


def test_tensors_come_back_as_they_were(store: Store) -> None:
    blob = store.blobs.put(ARRAYS, {"format": "x"})
    read = tensors.read(store.blobs.path(blob.sha256))
    assert (read.arrays["0.weight"] == ARRAYS["0.weight"]).all()
    assert read.metadata == {"format": "x"}
    assert blob.bytes == store.blobs.path(blob.sha256).stat().st_size
    assert left_over(store) == []


def test_a_blob_is_named_by_the_sha256_of_its_bytes(store: Store) -> None:
    blob = store.blobs.put_bytes(b"abc")
    assert blob.sha256 == hashlib.sha256(b"abc").hexdigest() == store.blobs.path(blob.sha256).name
    assert store.blobs.put_bytes(b"abc") == blob
    assert list(store.blobs.every()) == [blob.sha256]


def test_a_file_is_adopted_without_a_copy(store: Store) -> None:
    with store.blobs.scratch() as path:
        path.write_bytes(b"much")
        inode = path.stat().st_ino
        blob = store.blobs.adopt(path)
    assert store.blobs.path(blob.sha256).stat().st_ino == inode
    assert left_over(store) == []


def test_what_is_left_in_scratch_is_removed(store: Store) -> None:
    def fail() -> None:
        with store.blobs.scratch() as path:
            path.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert left_over(store) == []


NO_NAMES = [
    "",
    "abc",
    "../../etc/passwd",
    "A" * 64,
    "g" * 64,
    "a" * 63,
    "a" * 65,
    "a" * 64 + "\n",
    "/" + "a" * 63,
    "ä" * 64,
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_sha256_never_becomes_a_path(name: str, store: Store) -> None:
    with pytest.raises(InvalidData):
        store.blobs.path(name)
    with pytest.raises(InvalidData):
        store.blobs.verify(name)


def test_damage_anywhere_is_seen(store: Store) -> None:
    blob = store.blobs.put(ARRAYS, {})
    path = store.blobs.path(blob.sha256)
    assert store.blobs.verify(blob.sha256)
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert not store.blobs.verify(blob.sha256)
    for length in range(0, len(good), 16):
        path.write_bytes(good[:length])
        assert not store.blobs.verify(blob.sha256)
    path.unlink()
    assert not store.blobs.verify(blob.sha256)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass on the clock that nobody can set."""
    passed_s = 0.0
    real = clock.monotonic_s

    def pass_by(seconds: float) -> None:
        nonlocal passed_s
        passed_s += seconds

    monkeypatch.setattr(clock, "monotonic_s", lambda: real() + passed_s)
    return pass_by


def test_a_blob_is_deleted_when_it_is_not_needed_for_a_while(store: Store, later: Callable[[float], None]) -> None:
    blob = store.blobs.put_bytes(b"x" * 100)
    assert store.blobs.delete([blob.sha256, "0" * 64]) == 0
    later(30)
    assert store.blobs.delete([blob.sha256]) == 0
    assert store.blobs.verify(blob.sha256)
    later(31)
    assert store.blobs.delete([blob.sha256]) == 100
    assert not store.blobs.path(blob.sha256).exists()
    assert left_over(store) == []


def test_a_blob_is_deleted_at_once_when_there_is_no_grace(store: Store) -> None:
    blob = store.blobs.put_bytes(b"x" * 100)
    assert store.blobs.delete([blob.sha256], grace_s=0) == 100


def test_a_blob_put_again_is_young_again(store: Store, later: Callable[[float], None]) -> None:
    blob = store.blobs.put_bytes(b"x")
    assert store.blobs.delete([blob.sha256]) == 0
    later(61)
    store.blobs.put_bytes(b"x")
    assert store.blobs.delete([blob.sha256]) == 0
    later(61)
    assert store.blobs.delete([blob.sha256]) == 1


def test_a_clock_that_is_set_makes_no_blob_old(store: Store) -> None:
    """A file's time stamp an hour ago is what a clock set forward by an hour looks like."""
    blob = store.blobs.put_bytes(b"x")
    os.utime(store.blobs.path(blob.sha256), (time.time() - 3600,) * 2)
    assert store.collect() == 0
    assert store.blobs.verify(blob.sha256)


def test_what_a_killed_process_left_in_scratch_is_removed_and_nothing_else(
    store: Store, later: Callable[[float], None]
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    with store.blobs.scratch() as mine:
        mine.write_bytes(b"half")
        dead = mine.with_name(f"{child.pid}-0123456789abcdef")
        dead.write_bytes(b"left behind")
        store.collect()
        assert mine.exists()
        assert not dead.exists()
        later(STALE_S + 1)
        store.collect()
        assert not mine.exists(), "of a process that had our number, as far as anyone can tell"


def test_a_blob_put_while_it_is_being_deleted_is_there_afterwards(store: Store, later: Callable[[float], None]) -> None:
    """The writer puts the same content again and again, and looks at once; the other thread deletes it all the time."""
    stop = threading.Event()
    sha256 = hashlib.sha256(b"same").hexdigest()

    def delete() -> None:
        while not stop.is_set():
            store.blobs.delete([sha256])

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(200):
            store.blobs.put_bytes(b"same")
            assert store.blobs.path(sha256).exists()
            later(GRACE_S + 1)  # about to be deleted when it is put again
    finally:
        stop.set()
        thread.join()


def test_what_rows_point_at_is_never_collected(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Callable[..., Checkpoint]
) -> None:
    submit()
    attempt = claim()
    kept = [publish(attempt.run_id, step, kind).blob for step, kind in ((1, "state"), (2, "model"))]
    store.runs.report(attempt, Report(checkpoints=(publish(attempt.run_id, 1, "state"), publish(attempt.run_id, 2))))
    final = store.blobs.put_bytes(b"final").sha256
    data = store.blobs.put_bytes(b"data").sha256
    store.datasets.add(name="d", kind="table", rows=1, sha256="a" * 64, blob=data, bytes=1, description={})
    store.runs.finish(attempt, "succeeded", model_blob=final)
    store.blobs.put_bytes(b"nobody's")
    assert store.collect(grace_s=0) == len(b"nobody's")
    assert set(store.blobs.every()) == {*kept, final, data}


def test_old_checkpoints_are_forgotten_and_their_files_freed(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Callable[..., Checkpoint]
) -> None:
    submit()
    attempt = claim()
    for step in range(6):
        both = (publish(attempt.run_id, step, "state"), publish(attempt.run_id, step))
        store.runs.report(attempt, Report(checkpoints=both))
    unneeded = store.runs.retain(attempt.run_id, states=3, models=1)
    assert len(unneeded) == 3 + 5
    assert [point.step for point in store.runs.checkpoints(attempt.run_id, "state")] == [5, 4, 3]
    assert [point.step for point in store.runs.checkpoints(attempt.run_id, "model")] == [5]
    assert store.blobs.delete(unneeded, grace_s=0) > 0
    assert all(store.blobs.verify(point.blob) for point in store.runs.checkpoints(attempt.run_id))
    assert store.runs.retain(attempt.run_id) == ()


def test_a_blob_that_another_run_points_at_is_not_given_up(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Callable[..., Checkpoint]
) -> None:
    submit(), submit()
    one, two = claim(), claim()
    shared = publish("both", 1, "state")
    for attempt in (one, two):
        store.runs.report(attempt, Report(checkpoints=(shared,)))
    assert store.runs.retain(one.run_id, states=0, models=0) == ()
    assert store.runs.retain(two.run_id, states=0, models=0) == (shared.blob,)


@pytest.mark.parametrize(
    "begins", [{"go_on_from": {"run": "run_0", "step": 1, "blob": "%s"}}, {"network": {"initial_weights": "sha256:%s"}}]
)
def test_what_a_waiting_job_begins_from_is_kept_until_it_has_ended(
    begins: dict[str, dict[str, object]], store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt],
    publish: Callable[..., Checkpoint],
) -> None:  # fmt: skip
    submit()
    parent = claim()
    first = publish(parent.run_id, 1, "state")
    store.runs.report(parent, Report(checkpoints=(first,)))
    spec = json.loads(json.dumps(begins).replace("%s", first.blob))
    submit(type="train", spec=spec)
    store.runs.report(parent, Report(checkpoints=tuple(publish(parent.run_id, step, "state") for step in (2, 3, 4))))
    assert store.runs.retain(parent.run_id) == ()
    assert store.collect(grace_s=0) == 0
    assert store.blobs.verify(first.blob)
    store.runs.finish(claim(), "succeeded")
    assert store.collect(grace_s=0) > 0
    assert not store.blobs.path(first.blob).exists()


def test_a_key_is_forgotten_after_a_week_and_what_it_made_stays(
    store: Store, submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Idempotency("k", "0" * 64)
    job = submit(idempotency_key=key)
    real, week = clock.now, timedelta(seconds=KEPT_S)
    monkeypatch.setattr(clock, "now", lambda: real() + week - timedelta(hours=1))
    store.collect()
    assert submit(idempotency_key=key).id == job.id
    monkeypatch.setattr(clock, "now", lambda: real() + week + timedelta(hours=1))
    store.collect()
    assert submit(idempotency_key=key).id != job.id
    assert store.jobs.get(job.id).id == job.id


@pytest.fixture
def small_files(store: Store) -> Iterator[None]:
    """The kernel refuses files above 1 MiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_nothing_half_written(store: Store) -> None:
    small = store.blobs.put(ARRAYS, {})
    large = np.random.default_rng(0).standard_normal(200_000)
    with pytest.raises(StorageFull):
        store.blobs.put({"w": large}, {})
    with pytest.raises(StorageFull):
        store.blobs.put_bytes(large.tobytes())
    assert left_over(store) == []
    assert list(store.blobs.every()) == [small.sha256]
    assert store.blobs.put_bytes(b"still works").bytes == 11


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 48 MiB, where the test may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("needs the right to mount a small tmpfs")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_refuses_what_is_new_lets_things_be_deleted_and_recovers(small_disk: Path) -> None:
    store = storage.open(f"sqlite:///{small_disk / 'store.db'}", small_disk)
    first = store.jobs.submit(type="train", spec={})
    spec = {"text": "x" * 200_000}
    kept = []

    def fill() -> None:
        while True:
            kept.append(store.jobs.submit(type="train", spec=spec, max_queue=1 << 30).id)

    for _ in range(2):
        with pytest.raises(StorageFull):
            fill()
        store.collect(grace_s=0)  # leaves the reserve to what people delete, or the next to come would have it
    assert kept
    assert [job.id for job in store.jobs.list(limit=1000).data] == [*kept[::-1], first.id]  # nothing lost, nothing half
    with pytest.raises(StorageFull):
        store.blobs.put_bytes(os.urandom(1 << 20))
    with suppress(OSError), open(small_disk / "else", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with pytest.raises(StorageFull):
        store.uploads.begin(Announced("a.csv", 100), 1_000)
    store.jobs.request_stop(first.id, "cancel")  # the reserve makes it possible
    store.jobs.delete(first.id)
    for job_id in kept:
        store.jobs.request_stop(job_id, "cancel")
        store.jobs.delete(job_id)
    store.collect(grace_s=0)
    assert store.jobs.submit(type="train", spec=spec).spec == spec
    store.close()
