"""Backs a store up while it is at work: the database of one moment, and every artifact that it points at."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service import clock
from service.storage import archive, references
from service.storage.blobs import Blobs, sha256_of
from service.storage.database import Database
from service.storage.manifest import Manifest, Whole
from service.storage.reserve import Reserve


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds; `missing`: artifacts that a row points at, but that were gone or damaged already."""

    files: int
    bytes: int
    missing: tuple[str, ...]


def backup(database: Database, blobs: Blobs, out: BinaryIO) -> BackedUp:
    """Writes the archive. Nobody waits for it, and nothing that it needs is deleted meanwhile. Raises StorageFull."""
    with blobs.scratch_folder() as folder:
        copy = folder / archive.DATABASE
        with blobs.kept():
            database.copy(copy)
            found = _held(blobs, _pointed(copy), folder)
        sound = {sha256: path for sha256, path in found.items() if path.exists() and sha256_of(path) == sha256}
        manifest = _manifest(copy, sound, tuple(sorted(found.keys() - sound.keys())))
        _write(out, manifest, copy, sound)
    return BackedUp(len(sound), manifest.bytes, manifest.missing)


def _pointed(copy: Path) -> set[str]:
    opened = Database(f"sqlite:///{copy}", Reserve(copy.with_name("reserve")))
    with closing(opened) as database, database.read() as connection:
        return references.every(connection)


def _held(blobs: Blobs, names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Another name for each file, which stays when the first is deleted; a copy where the disk knows no links."""
    held = {sha256: folder / sha256 for sha256 in names}
    for sha256, path in held.items():
        try:
            os.link(blobs.path(sha256), path)
        except FileNotFoundError:
            continue
        except OSError:
            shutil.copyfile(blobs.path(sha256), path)
    return held


def _manifest(copy: Path, sound: Mapping[str, Path], missing: tuple[str, ...]) -> Manifest:
    return Manifest(
        created_at=clock.now(),
        database=Whole(sha256=sha256_of(copy), bytes=copy.stat().st_size),
        files={sha256: path.stat().st_size for sha256, path in sound.items()},
        missing=missing,
    )


def _write(out: BinaryIO, manifest: Manifest, copy: Path, sound: Mapping[str, Path]) -> None:
    said, at_s = manifest.model_dump_json().encode(), manifest.created_at.timestamp()
    archive.write(out, archive.MANIFEST, len(said), io.BytesIO(said), at_s)
    files = {archive.DATABASE: copy} | {archive.name_of(sha256): path for sha256, path in sound.items()}
    for name, path in files.items():
        with open(path, "rb") as content:
            archive.write(out, name, path.stat().st_size, content, at_s)
    archive.end(out)
