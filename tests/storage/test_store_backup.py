"""A backup holds everything of one moment; what is restored is that, or nothing is."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from service import clock, storage
from service.errors import Conflict, InvalidData, ServiceError, StorageFull
from service.storage import Attempt, Checkpoint, Job, Report, Store

pytestmark = pytest.mark.sqlite
MOMENT = clock.now()


@pytest.fixture
def attempt(
    store: Store, submit: Callable[..., Job], claim: Callable[[], Attempt], publish: Callable[..., Checkpoint]
) -> Attempt:
    """A run at work, with points and two checkpoints, beside a job that waits and a data set."""
    data = store.blobs.put_bytes(b"data" * 1000)
    store.datasets.add(name="d", kind="table", rows=1, sha256="a" * 64, blob=data.sha256, bytes=4000, description={})
    submit()
    submit(spec={"seed": 2})
    running = claim()
    both = (publish(running.run_id, 1, "state"), publish(running.run_id, 1))
    steps = np.arange(100)
    store.runs.report(running, Report(series={"loss": (steps, np.sqrt(steps))}, step=100, checkpoints=both))
    return running


@pytest.fixture
def backup(store: Store, attempt: Attempt) -> bytes:
    out = io.BytesIO()
    store.backup(out)
    return out.getvalue()


def restored(data: bytes, folder: Path, **given: Any) -> storage.Restored:
    return storage.restore(io.BytesIO(data), folder, **given)


def opened(folder: Path) -> Store:
    return storage.open(f"sqlite:///{folder / 'netwright.db'}", folder)


def contents(store: Store, run_id: str) -> dict[str, Any]:
    """What people and workers see of a store, but for the states that a restore changes."""
    return {
        "jobs": {job.id: job.spec for job in store.jobs.list().data},
        "loss": store.metrics.series(run_id)["loss"].values.tolist(),
        "checkpoints": store.runs.checkpoints(run_id),
        "datasets": store.datasets.list().data,
        "blobs": {sha256: store.blobs.path(sha256).read_bytes() for sha256 in store.blobs.every()},
    }


def test_what_is_restored_is_what_was_backed_up(store: Store, attempt: Attempt, backup: bytes, tmp_path: Path) -> None:
    made = restored(backup, tmp_path / "new")
    assert (made.files, made.requeued, made.missing, made.set_aside) == (3, 1, (), None)
    with closing(opened(tmp_path / "new")) as copy:
        assert contents(copy, attempt.run_id) == contents(store, attempt.run_id)
        assert copy.check().sound
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert left <= {"netwright.db", "blobs", "in-use.lock", "open.lock", "reserve"}


def test_a_run_at_work_goes_back_to_the_queue_and_no_attempt_is_counted(
    attempt: Attempt, backup: bytes, tmp_path: Path
) -> None:
    restored(backup, tmp_path / "new")
    with closing(opened(tmp_path / "new")) as copy:
        assert copy.runs.live() == ()
        run = copy.runs.get(attempt.run_id)
        job = copy.jobs.get(run.job_id or "")
        assert (run.status, job.status, job.attempt, job.queue_position) == ("queued", "queued", 0, 1)


def test_anybodys_tar_can_read_it(store: Store, backup: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(backup)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    manifest = json.loads(files.pop("manifest.json"))
    assert len(files.pop("netwright.db")) == manifest["database"]["bytes"]
    every = {f"blobs/{sha256[:2]}/{sha256}": store.blobs.path(sha256).read_bytes() for sha256 in store.blobs.every()}
    assert files == every
    assert os.listdir(store.data_dir / "blobs" / "new") == []


def test_nothing_is_deleted_under_a_backup_and_nobody_waits(store: Store, attempt: Attempt) -> None:
    """Rows let go of their checkpoints and files are deleted all the time, while one backup after the other is made."""
    stop, failed = threading.Event(), []

    def turn_over() -> None:
        step = 2
        while not stop.is_set():
            blob = store.blobs.put_bytes(b"state %d" % step)
            point = Checkpoint(attempt.run_id, step, "state", blob.sha256, blob.bytes, "", 0, MOMENT)
            store.runs.report(attempt, Report(checkpoints=(point,)))
            store.blobs.delete(store.runs.retain(attempt.run_id, states=1), grace_s=0)
            step += 1

    thread = threading.Thread(target=turn_over)
    thread.start()
    try:
        for number in range(15):
            made = store.backup(io.BytesIO())
            failed += [(number, made.missing)] if made.missing else []
    finally:
        stop.set()
        thread.join()
    assert failed == []
    store.blobs.put_bytes(b"unneeded")
    assert store.collect(grace_s=0) >= len(b"unneeded")


def test_an_artifact_that_is_lost_already_is_told_of_and_the_rest_is_kept(
    store: Store, attempt: Attempt, tmp_path: Path
) -> None:
    state, model = (store.runs.checkpoints(attempt.run_id, kind)[0].blob for kind in ("state", "model"))
    store.blobs.path(state).unlink()
    store.blobs.path(model).write_bytes(b"damaged")
    out = io.BytesIO()
    made = store.backup(out)
    assert set(made.missing) == {state, model}
    assert set(restored(out.getvalue(), tmp_path / "new").missing) == {state, model}
    with closing(opened(tmp_path / "new")) as copy:
        assert {each.code for each in copy.check().findings} == {"file_missing"}


# Folders


def test_a_folder_that_is_not_empty_is_refused_unless_told(backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "precious").write_text("x")
    with pytest.raises(Conflict, match="not empty"):
        restored(backup, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir() if path.suffix != ".lock"] == ["precious"]
    made = restored(backup, tmp_path / "new", replace=True)
    assert made.set_aside is not None
    assert (made.set_aside / "precious").read_text() == "x"
    opened(tmp_path / "new").close()


def test_a_folder_in_use_is_refused_whatever_is_told(store: Store, backup: bytes) -> None:
    before = set(os.listdir(store.data_dir))
    with pytest.raises(Conflict, match="in use"):
        restored(backup, store.data_dir, replace=True)
    assert set(os.listdir(store.data_dir)) == before


def test_what_a_killed_restore_left_is_no_obstacle(backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "new" / "restoring-abc").mkdir(parents=True)
    (tmp_path / "new" / "restoring-abc" / "half").write_text("x")
    restored(backup, tmp_path / "new")
    assert not (tmp_path / "new" / "restoring-abc").exists()


# Archives that are damaged, or meant to do harm


def test_a_backup_cut_short_anywhere_is_refused(backup: bytes, tmp_path: Path) -> None:
    chance = Random(1)
    for length in [0, 1, 511, 512, *(chance.randrange(len(backup) - 1024) for _ in range(40))]:
        with pytest.raises(InvalidData):
            restored(backup[:length], tmp_path / "new")
        _nothing_in(tmp_path / "new")


def test_a_bit_flipped_anywhere_is_refused_or_harmless(
    store: Store, attempt: Attempt, backup: bytes, tmp_path: Path
) -> None:
    chance, refused = Random(2), 0
    for number in range(60):
        place = chance.randrange(len(backup) - 1024)
        flipped = backup[:place] + bytes([backup[place] ^ 1 << chance.randrange(8)]) + backup[place + 1 :]
        try:
            restored(flipped, tmp_path / f"{number}")
        except (InvalidData, StorageFull):
            refused += 1
            _nothing_in(tmp_path / f"{number}")
        else:  # the padding between members, or when it was made
            with closing(opened(tmp_path / f"{number}")) as copy:
                assert contents(copy, attempt.run_id) == contents(store, attempt.run_id)
    assert refused > 30


def _member(name: str, data: bytes = b"", **given: Any) -> bytes:
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for field, value in given.items():
        setattr(made, field, value)
    return made.tobuf() + data + bytes(-len(data) % 512)


HARMFUL = {
    "a name that climbs": _member("../evil", b"x"),
    "a climbing name that ends well": _member("blobs/../../" + "a" * 64, b"x"),
    "an absolute name": _member("/tmp/netwright-evil", b"x"),
    "a link": _member("blobs/aa/" + "a" * 64, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": _member("netwright.db", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a folder": _member("blobs", type=tarfile.DIRTYPE),
    "a device": _member("netwright.db", type=tarfile.CHRTYPE),
    "a long name": _member("x" * 300, b"x"),
    "an extended header": _member("blobs/é", b"x"),
    "an artifact nobody spoke of": _member("blobs/aa/" + "a" * 64, b"x"),
    "a second manifest": _member("manifest.json", b"{}"),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_an_archive_cannot_write_elsewhere(what: str, backup: bytes, tmp_path: Path) -> None:
    first = 512 + -(-_size(backup) // 512) * 512
    for place in (0, first, len(backup) - 1024):
        with pytest.raises(InvalidData):
            restored(backup[:place] + HARMFUL[what] + backup[place:], tmp_path / "deep" / "new")
        _nothing_in(tmp_path / "deep" / "new")
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"new"}
    assert not Path("/tmp/netwright-evil").exists()


def _size(backup: bytes) -> int:
    return tarfile.TarInfo.frombuf(backup[:512], "utf-8", "strict").size


def test_a_member_that_comes_twice_is_refused(backup: bytes, tmp_path: Path) -> None:
    first = 512 + -(-_size(backup) // 512) * 512
    with pytest.raises(InvalidData):
        restored(backup[:-1024] + backup[first:], tmp_path / "new")


MANIFESTS = {
    "not JSON": b"{",
    "another format": b'{"format": "netwright.backup/2"}',
    "a name that is no sha256": b'{"format": "netwright.backup/1", "created_at": "2026-01-01T00:00:00Z", "database": '
    b'{"sha256": "' + b"0" * 64 + b'", "bytes": 1}, "files": {"../../x": 1}, "missing": []}',
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_makes_no_sense_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="not a backup"):
        restored(_member("manifest.json", MANIFESTS[what]) + bytes(1024), tmp_path / "new")


def test_what_cannot_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    said = MANIFESTS["a name that is no sha256"].replace(b"../../x", b"f" * 64).replace(b'": 1}', b'": %d}' % 10**18)
    with pytest.raises(StorageFull):
        restored(_member("manifest.json", said) + bytes(1024), tmp_path / "new")
    _nothing_in(tmp_path / "new")


def test_a_backup_of_a_newer_program_is_refused(store: Store, attempt: Attempt, tmp_path: Path) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    out = io.BytesIO()
    store.backup(out)
    with pytest.raises(ServiceError, match="newer version"):
        restored(out.getvalue(), tmp_path / "new")
    _nothing_in(tmp_path / "new")


def _nothing_in(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} <= {"in-use.lock"}


def test_scratch_of_a_killed_process_is_tidied_away_and_that_of_a_living_one_stays(store: Store) -> None:
    new = store.data_dir / "blobs" / "new"
    (new / "999999999-abc").mkdir()
    (new / "999999999-def").write_bytes(b"half")
    with store.blobs.scratch() as path:
        path.write_bytes(b"mine")
        store.collect()
        assert os.listdir(new) == [path.name]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no store"):
        storage.existing(f"sqlite:///{tmp_path / 'none' / 'netwright.db'}", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
