"""Files named by their sha256, written so that a name never stands for a half-written file, whatever happens.

Written beside, fsynced, renamed, directory fsynced (of the orders tried under a simulated power cut, the only one
that lost nothing). Nothing here is ever changed in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from service import clock, tensors
from service.errors import InvalidData
from service.storage.durable import full_told, make_folder, sync_folder
from service.storage.rows import Blob
from service.tensors import Array

GRACE_S = 60.0  # what was put so short a time ago may be about to be pointed at
_MOST_IDLE = 100_000
STALE_S = 3600.0  # nobody writes a file so long without writing to it
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEPT = "kept.lock"


def sha256_of(path: Path) -> str:
    """The name of a file by its content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Blobs:
    """The folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._durable: set[Path] = set()  # folders whose own names this process knows to be on the disk
        self._idle: dict[Path, tuple[int, float]] = {}  # by file: its time stamp, and since when it has been that
        make_folder(folder)
        (folder / "new").mkdir(exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be. Raises InvalidData for what is no sha256 in lower-case hex."""
        if not _SHA256.fullmatch(sha256):
            raise InvalidData("not the name of a blob")
        return self._folder / sha256[:2] / sha256

    def put(self, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Blob:
        """Stores tensors. Raises StorageFull, with nothing half-written left."""
        with self.scratch() as path:
            sha256, size = tensors.write(path, arrays, metadata)
            return self._name(path, sha256, size)

    def put_bytes(self, data: bytes) -> Blob:
        """Stores bytes as they are. Raises StorageFull."""
        with self.scratch() as path:
            path.write_bytes(data)
            return self.adopt(path)

    def adopt(self, path: Path) -> Blob:
        """Stores a file, best one made in `scratch`; it is moved, not copied. Raises StorageFull."""
        with full_told(), open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.tell()
            os.fsync(file.fileno())
            return self._name(path, digest.hexdigest(), size)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A path on the same disk to write a file at; what is left of it at the end is removed. Raises StorageFull."""
        path = self._folder / "new" / _of_this_process()
        try:
            with full_told():
                yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A folder on the same disk for the files of a while; it is removed at the end. Raises StorageFull."""
        path = self._folder / "new" / _of_this_process()
        path.mkdir()
        try:
            with full_told():
                yield path
        finally:
            shutil.rmtree(path)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, no process deletes a blob; whoever would leaves it for later."""
        with open(self._folder / _KEPT, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def verify(self, sha256: str) -> bool:
        """Whether the file is there and its content is what its name says."""
        try:
            return sha256_of(self.path(sha256)) == sha256
        except OSError:
            return False

    def size(self, sha256: str) -> int:
        """Its bytes; 0 when it is not there."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def every(self) -> Iterator[str]:
        """The names of all blobs."""
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                if _SHA256.fullmatch(path.name):
                    yield path.name

    def delete(self, unreferenced: Collection[str], *, grace_s: float = GRACE_S) -> int:
        """Removes blobs that nothing points at; returns the bytes freed.

        With a grace only those that were asked for `grace_s` ago already and not put since: ask again. A clock that is
        set makes no blob old. One may be put again just now; so the look at it and its removal are under a lock.
        While somebody wants all `kept`, none is removed.
        """
        with open(self._folder / _KEPT, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            return sum(self._remove(self.path(sha256), grace_s) for sha256 in unreferenced)

    def discard(self, sha256: str) -> None:
        """Removes a blob that is not what its name says, so that the same content put again is not taken for it."""
        with self._locked(fcntl.LOCK_EX):
            if not self.verify(sha256):
                self.path(sha256).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes what killed processes left half-written."""
        for path in (self._folder / "new").iterdir():
            if not _lives(path.name.partition("-")[0]):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            elif path.is_file():  # perhaps of another process that had this number before
                self._remove(path, STALE_S)

    def _remove(self, path: Path, grace_s: float) -> int:
        if len(self._idle) > _MOST_IDLE:
            self._idle.clear()
        with self._locked(fcntl.LOCK_EX), suppress(FileNotFoundError):
            status, now_s = path.stat(), clock.monotonic_s()
            stamp, since_s = self._idle.setdefault(path, (status.st_mtime_ns, now_s))
            if stamp != status.st_mtime_ns:  # put again meanwhile
                self._idle[path] = status.st_mtime_ns, now_s
            elif now_s - since_s >= grace_s:
                path.unlink()
                self._idle.pop(path)
                return status.st_size
        return 0

    def _name(self, path: Path, sha256: str, size: int) -> Blob:
        """Gives a file its name; where it is there already, that one becomes young again."""
        target = self.path(sha256)
        with full_told():
            if target.parent not in self._durable:
                make_folder(target.parent)
                self._durable.add(target.parent)
            with self._locked(fcntl.LOCK_SH):
                if not _touch(target):
                    os.utime(path)  # young from now on, however long the writing took
                    path.rename(target)
            sync_folder(target.parent)
        return Blob(sha256, size)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with open(self._folder / "lock", "wb") as file:
            fcntl.flock(file, how)
            yield


def _touch(path: Path) -> bool:
    """Makes a blob young again; False when it is not there."""
    with suppress(FileNotFoundError):
        os.utime(path)
        return True
    return False


def _of_this_process() -> str:
    return f"{os.getpid()}-{token_hex(8)}"


def _lives(pid: str) -> bool:
    return not pid.isdecimal() or Path("/proc", pid).exists() or not Path("/proc/self").exists()
