"""The power is cut at any moment: nothing promised is lost, nothing is torn; and each fsync is needed for that."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from random import Random

import pytest
from power_disk import Disk, Fate, Operation, What
from power_drill import HERE, Recording, cut, record

IMAGES = 200  # `make power-cut` makes 10,000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A store at work in two processes, every write of it in order."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler to record what a process writes")
    return record([str(HERE / "power_work.py"), "4"], tmp_path_factory.mktemp("power"))


def test_nothing_promised_is_lost_and_nothing_torn_when_the_power_is_cut(recording: Recording) -> None:
    verdict = cut(recording, IMAGES, seed=1)
    assert verdict.images == IMAGES
    assert verdict.examples == {}


# A disk that says it has written what it has not: as if the code did not ask for it.
MISSING: dict[str, tuple[str, set[str]]] = {
    "the write-ahead log": (r"data/netwright\.db-wal", {"lost job", "lost points"}),
    "the content of blobs": (r"data/blobs/new/.+", {"file_damaged"}),
    "the names of blobs": (r"data/blobs/../", {"file_missing"}),
    "the folders of blobs": (r"data/blobs/", {"file_missing"}),
    "the data folder": (r"/", {"lost job"}),
}


@pytest.mark.parametrize("what", MISSING)
def test_without_the_fsync_of(what: str, recording: Recording) -> None:
    path, wrong = MISSING[what]
    verdict = cut(recording, IMAGES, 2, lying=_matching(path), enough=lambda so_far: bool(wrong & so_far.wrong.keys()))
    assert wrong & verdict.wrong.keys(), "the simulation is blind to what this fsync is for"


def _matching(pattern: str) -> Callable[[str], bool]:
    return lambda path: re.fullmatch(pattern, path) is not None


# The disk itself, by hand


def _operations(*steps: tuple[What, int, str, bytes]) -> list[Operation]:
    return [Operation(what, inode, 0, path, "", data) for what, inode, path, data in steps]


def _left(*steps: tuple[What, int, str, bytes], data: float, names: bool) -> dict[str, bytearray | None]:
    disk = Disk()
    for operation in _operations(*steps):
        disk.do(operation)
    return disk.left(Fate(Random(1), data, lambda n: [names] * n, garbage=False))


WRITTEN = ((What.CREATE, 7, "a", b""), (What.WRITE, 7, "", b"x" * 1000))


def test_what_was_not_synced_may_be_lost() -> None:
    assert _left(*WRITTEN, data=0.0, names=True) == {"": None, "a": bytearray()}
    assert _left(*WRITTEN, data=1.0, names=False) == {"": None}
    assert _left(*WRITTEN, data=1.0, names=True) == {"": None, "a": bytearray(b"x" * 1000)}


def test_a_write_may_be_torn_between_sectors() -> None:
    found = {bytes(_torn(seed)) for seed in range(30)}
    assert found == {b"", b"x" * 512, bytes(512) + b"x" * 488, b"x" * 1000}


def _torn(seed: int) -> bytearray:
    disk = Disk()
    for operation in _operations(*WRITTEN):
        disk.do(operation)
    left = disk.left(Fate(Random(seed), 0.5, lambda n: [True] * n, garbage=False))["a"]
    assert left is not None
    return left


def test_what_was_synced_stays() -> None:
    synced = (*WRITTEN, (What.SYNC, 7, "a", b""), (What.SYNC_FOLDER, 0, "", b""))
    assert _left(*synced, data=0.0, names=False) == {"": None, "a": bytearray(b"x" * 1000)}
