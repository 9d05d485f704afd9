"""Makes a folder of a backup: read to its end and found whole before anything of it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from service import clock
from service.errors import Conflict, InvalidData, StorageFull
from service.storage import archive, attempts, check, manifest, migrate, references, use
from service.storage.blobs import Blobs
from service.storage.database import Database
from service.storage.durable import PRIVATE, full_told, make_folder, sync_folder
from service.storage.hold import LOCK as SERVER_LOCK
from service.storage.manifest import Manifest
from service.storage.reserve import Reserve

BLOBS = "blobs"
_STAGE = "restoring-"
_HARMLESS = {use.LOCK, SERVER_LOCK, migrate.LOCK, "lost+found"}  # in a folder that counts as empty
_ROOM_BYTES = 64 << 20  # beyond the files themselves


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored. `requeued`: runs that were at work at the time, and go on with the next server."""

    files: int
    bytes: int
    requeued: int
    missing: tuple[str, ...]
    set_aside: Path | None


def restore(source: BinaryIO, data_dir: Path, *, replace: bool = False) -> Restored:
    """Raises InvalidData for what is no whole backup, Conflict for a folder in use or, without `replace`, not empty.

    With `replace` what was there is kept, in a folder beside the new. Whatever is raised, nothing there has changed.
    """
    make_folder(data_dir, PRIVATE)
    with use.alone(data_dir):
        old = _found(data_dir)
        if old and not replace:
            hint = "Name another folder; or say --replace: what is there is then moved into a folder beside."
            raise Conflict(f"{data_dir} is not empty", hint=hint)
        with _stage(data_dir) as stage:
            said = _unpack(source, stage)
            requeued = _settle(stage, said)
            aside = _set_aside(data_dir, old)
            for name in (BLOBS, archive.DATABASE):  # the database last: with it the folder is a store
                (stage / name).rename(data_dir / name)
            sync_folder(data_dir)
    return Restored(len(said.files), said.bytes, requeued, said.missing, aside)


def _found(data_dir: Path) -> list[Path]:
    """What is there; what a killed restore left is removed."""
    for left in data_dir.glob(f"{_STAGE}*"):
        shutil.rmtree(left)
    return [path for path in data_dir.iterdir() if path.name not in _HARMLESS]


@contextmanager
def _stage(data_dir: Path) -> Iterator[Path]:
    stage = data_dir / f"{_STAGE}{token_hex(4)}"
    stage.mkdir()
    try:
        with full_told():
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _unpack(source: BinaryIO, stage: Path) -> Manifest:
    members = archive.members(source)
    first = next(members, None)
    if first is None or first.name != archive.MANIFEST or first.size > manifest.MAX_BYTES:
        raise InvalidData("not a backup: it does not begin with a manifest", hint=archive.HINT)
    said = manifest.parse(b"".join(first.pieces()))
    free = shutil.disk_usage(stage).free
    if said.bytes + _ROOM_BYTES > free:
        raise StorageFull(f"the backup needs {said.bytes:,} bytes, and the disk has {free:,}")
    waiting = {archive.name_of(sha256): (sha256, size) for sha256, size in said.files.items()}
    waiting[archive.DATABASE] = said.database.sha256, said.database.bytes
    blobs = Blobs(stage / BLOBS)
    for member in members:
        sha256, size = waiting.pop(member.name, ("", -1))
        if size != member.size:
            raise InvalidData(
                f"not a backup: {member.name!r} is no part of one, or not as long as is said", hint=archive.HINT
            )
        _take(member, sha256, stage / archive.DATABASE if member.name == archive.DATABASE else None, blobs)
    if waiting:
        raise InvalidData(f"the backup is cut short: {min(waiting)} is not there", hint=archive.HINT)
    return said


def _take(member: archive.Member, sha256: str, path: Path | None, blobs: Blobs) -> None:
    """Writes a member where we say, once it is what the manifest says."""
    with blobs.scratch() as scratch:
        digest = hashlib.sha256()
        with open(scratch, "wb") as file:
            for piece in member.pieces():
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise InvalidData(f"{member.name} is damaged: its content is not what its sha256 says", hint=archive.HINT)
        if path is None:
            blobs.adopt(scratch)
        else:
            scratch.rename(path)


def _settle(stage: Path, said: Manifest) -> int:
    """Brings the database up to date, looks through it, and gives back the runs that were at work: how many.

    Their workers are of another store, which may well be alive; nobody here may wait for them or end them.
    """
    with closing(Database(f"sqlite:///{stage / archive.DATABASE}", Reserve(stage / "reserve"))) as database:
        migrate.migrate(database, stage)
        findings = check.rows(database)
        with database.write() as connection:
            live = attempts.live(connection)
            for each in live:
                attempts.release(connection, each.attempt)
            lacking = references.every(connection) - said.files.keys() - set(said.missing)
        if findings or lacking:
            raise InvalidData(
                "the backup's database is not sound", hint="; ".join(each.message for each in findings[:3])
            )
    return len(live)


def _set_aside(data_dir: Path, old: list[Path]) -> Path | None:
    if not old:
        return None
    aside = data_dir / f"replaced-{clock.now():%Y%m%dT%H%M%SZ}-{token_hex(2)}"
    aside.mkdir()
    for path in old:
        path.rename(aside / path.name)
    return aside
