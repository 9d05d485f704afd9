"""Uploads that come in pieces: what was acknowledged is fsynced, what a killed server had beyond it is cut off."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from service import clock
from service.errors import Conflict, Fault, InvalidSpec, NotFound, StorageFull
from service.storage import idempotency, ids
from service.storage.durable import full_told, make_folder, sync_folder
from service.storage.rows import Idempotency

KEPT_S = 24 * 3600  # since the last byte came
MOST_OPEN = 100
_ID = re.compile(r"up_[0-9a-z]{22}")
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of a file before its bytes come."""

    name: str
    bytes: int
    sha256: str | None = None
    options: Mapping[str, str | None] | None = None  # how it is to be read


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload as it stands. `offset`: so many bytes are on disk for good."""

    id: str
    announced: Announced
    offset: int
    dataset_id: str | None
    expires_at: datetime


class Uploads:
    """A folder for each: what was announced, how much has come, the bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, announced: Announced, most_bytes: int, idempotency_key: Idempotency | None = None) -> Unfinished:
        """A new upload, or the one that the key made. `most_bytes`: of all that are unfinished.

        Raises InvalidSpec when the key came with another request, StorageFull when too much is unfinished.
        """
        request = None if idempotency_key is None else idempotency_key.request_sha256
        upload_id = ids.new("up") if idempotency_key is None else f"up_{_hash(idempotency_key.key)[:22]}"
        if idempotency_key is not None and (self._folder / upload_id / "about.json").exists():
            idempotency.check(idempotency_key, self._about(upload_id).get("request"))
            return self.get(upload_id)
        self.sweep()
        self._check_room(announced.bytes, most_bytes)
        with full_told():
            make_folder(self._folder / upload_id)
            for name in ("data", "offset"):  # `_write` makes their names certain too
                (self._folder / upload_id / name).touch(0o600)
        self._write(upload_id, {"announced": asdict(announced), "request": request, "dataset_id": None})
        return self.get(upload_id)

    def get(self, upload_id: str) -> Unfinished:
        """Raises NotFound."""
        about, path = self._about(upload_id), self._folder / upload_id
        try:
            touched_s = max((path / name).stat().st_mtime for name in ("about.json", "offset"))
            offset = _said((path / "offset").read_bytes())
        except FileNotFoundError:  # it is being removed
            raise _missing(upload_id) from None
        expires_at = datetime.fromtimestamp(touched_s, clock.now().tzinfo) + timedelta(seconds=KEPT_S)
        return Unfinished(upload_id, Announced(**about["announced"]), offset, about["dataset_id"], expires_at)

    def open(self, upload_id: str, offset: int) -> Appending:
        """To be written to. Raises NotFound, Conflict when it stands elsewhere, is written to already, or is finished.

        What was written when it is closed is on disk for good, whatever ended it.
        """
        found, path = self.get(upload_id), self._folder / upload_id
        if found.dataset_id is not None:
            raise Conflict(f"the upload is finished: it is data set {found.dataset_id}")
        data, mark = (os.open(path / name, os.O_RDWR) for name in ("data", "offset"))
        appending = Appending(data, mark, found.announced.bytes)
        try:
            appending.begin(offset)
        except BaseException:
            appending.close()
            raise
        return appending

    def path(self, upload_id: str) -> Path:
        """Its bytes."""
        return self._folder / upload_id / "data"

    def finish(self, upload_id: str, dataset_id: str) -> None:
        """It has become a data set; its bytes go, its name is known until it expires."""
        self._write(upload_id, self._about(upload_id) | {"dataset_id": dataset_id})
        self.path(upload_id).unlink(missing_ok=True)

    def delete(self, upload_id: str) -> None:
        """Raises NotFound."""
        self._about(upload_id)
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    def sweep(self) -> None:
        """Removes those that nothing has come to for a day, and what a killed server had only begun."""
        for path in self._every():
            try:
                gone = self.get(path.name).expires_at < clock.now()
            except NotFound:
                gone = path.stat().st_mtime + KEPT_S < clock.now().timestamp()
            if gone:
                shutil.rmtree(path, ignore_errors=True)

    def _every(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def _check_room(self, size: int, most_bytes: int) -> None:
        found = list[Unfinished]()
        for path in self._every():
            try:
                found.append(self.get(path.name))
            except NotFound:
                continue
        waiting = [each.announced.bytes for each in found if each.dataset_id is None]
        if len(waiting) >= MOST_OPEN or sum(waiting) + size > most_bytes:
            message = f"{len(waiting)} uploads of {sum(waiting):,} bytes are unfinished already"
            raise StorageFull(message, hint="Finish or delete some of them; they expire a day after their last byte.")

    def _about(self, upload_id: str) -> dict[str, Any]:
        if not _ID.fullmatch(upload_id):
            raise _missing(upload_id)
        try:
            about: dict[str, Any] = json.loads((self._folder / upload_id / "about.json").read_bytes())
        except FileNotFoundError:
            raise _missing(upload_id) from None
        return about

    def _write(self, upload_id: str, about: Mapping[str, object]) -> None:
        """Beside, fsynced, renamed, and the folder fsynced: all of it or what was there."""
        path = self._folder / upload_id
        with full_told():
            with open(path / "about.new", "w", encoding="utf-8") as file:
                json.dump(about, file)
                file.flush()
                os.fsync(file.fileno())
            (path / "about.new").rename(path / "about.json")
            sync_folder(path)


class Appending:
    """Bytes on their way behind those that are there."""

    def __init__(self, data: int, mark: int, most: int) -> None:
        self._data, self._mark, self._most = data, mark, most
        self.offset = self._sure = 0

    def begin(self, offset: int) -> None:
        """Alone from now on. Raises Conflict."""
        try:
            fcntl.flock(self._data, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("another request is writing to this upload", hint="Try again soon.") from error
        stands = _said(os.pread(self._mark, _DIGITS, 0))
        self.offset = self._sure = stands
        if offset != stands:
            raise Conflict(
                f"the upload stands at byte {stands}, not {offset}", hint=f"Go on with Upload-Offset: {stands}"
            )
        os.ftruncate(self._data, stands)  # what a killed server had written beyond it

    def write(self, piece: bytes) -> None:
        """Raises InvalidSpec when there are more bytes than were announced; those before stay."""
        room = self._most - self.offset
        left = memoryview(piece)[:room]
        while left:
            written = os.pwrite(self._data, left, self.offset)
            left, self.offset = left[written:], self.offset + written
        if len(piece) > room:
            message = f"more than the {self._most:,} bytes that were announced"
            raise InvalidSpec(message, faults=[Fault("/body", "too_long", message)])

    def commit(self) -> None:
        """First the bytes, then how many they are."""
        if self.offset != self._sure:
            os.fsync(self._data)
            os.pwrite(self._mark, f"{self.offset:0{_DIGITS}}".encode(), 0)
            os.fsync(self._mark)
            self._sure = self.offset

    def close(self) -> None:
        """Keeps what was written, as far as the disk takes it."""
        try:
            with suppress(OSError):
                self.commit()
        finally:
            os.close(self._mark)
            os.close(self._data)


def _missing(upload_id: str) -> NotFound:
    return NotFound(f"no upload {upload_id[:100]}", hint="An upload expires a day after its last byte.")


def _said(digits: bytes) -> int:
    return int(digits) if len(digits) == _DIGITS else 0


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
