"""Zips of files in folders called by their classes: what lies in them, told before anything is inflated."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from service.data.columns import Finished, Words
from service.data.place import shown
from service.data.readers.inflated import plain
from service.data.source import Source, check_names, oversized, unusable
from service.data.spool import Spool

_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_MOST_MEMBERS = 500_000
_MEMBER_BYTES = 1 << 25
_DIRECTORY_BYTES = 1 << 26
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, LookupError,
)  # fmt: skip

Member = tuple[zipfile.ZipFile, zipfile.ZipInfo]


@dataclass(frozen=True)
class Kind:
    """What may lie in such a zip. `formats`: their names, for people."""

    one: str
    many: str
    formats: str
    endings: tuple[str, ...]


def holds(source: Source, kind: Kind) -> bool:
    """Whether a zip holds files of the kind, by the first names that mean anything; an NPZ holds arrays."""
    if source.packed:
        return False
    with open(source.path, "rb") as file:
        try:
            check_directory(source, file)
            with zipfile.ZipFile(file) as archive:
                return any(name.lower().endswith(kind.endings) for name in archive.namelist())
        except (*ZIP_ERRORS, OSError, ValueError):
            return False


@contextmanager
def members_of(sources: Sequence[Source], spool: Spool, kind: Kind) -> Iterator[list[Member]]:
    """All files of the zips, which are open meanwhile. Raises InvalidData, TooLarge."""
    archives = [_archive(source, spool) for source in sources]
    try:
        members = [(archive, info) for archive, source in zip(archives, sources, strict=True)
                   for info in _infos(archive, source, kind)]  # fmt: skip
        if not members:
            raise unusable("no_rows", f"there is no {kind.one} in the zip")
        yield members
    except (*ZIP_ERRORS, OSError) as error:
        raise unusable("damaged", f"the zip file cannot be read ({str(error)[:100]})") from error
    finally:
        for archive in archives:
            archive.close()


def labelled(members: list[Member], column: Finished, spool: Spool, kind: Kind) -> tuple[list[Finished], list[str]]:
    """(the column and, where there are folders, `label`; what to warn of)."""
    labels = labels_of(members)
    if not labels:
        told = f"the {kind.many} lie in no folders, so that nothing says what they are: there is no column 'label'"
        return [column], [told]
    words = Words(spool, frozenset())
    words.add(labels)
    return [column, words.finish("label", "category")], []


def check_directory(source: Source, file: IO[bytes]) -> None:
    """Raises TooLarge when the list of names at a zip's end alone would fill the memory; zipfile reads it whole."""
    file.seek(max(0, file.seek(0, 2) - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    wide = tail.rfind(b"PK\6\6", 0, max(at, 0))
    if wide >= 0:
        size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if size > _DIRECTORY_BYTES:
        raise oversized(f"{source.name}: the names in the zip take more than {_DIRECTORY_BYTES:,} bytes")
    file.seek(0)


def _archive(source: Source, spool: Spool) -> zipfile.ZipFile:
    file = plain(source, spool)
    check_directory(source, file)
    try:
        return zipfile.ZipFile(file)
    except (*ZIP_ERRORS, OSError, ValueError) as error:
        raise unusable("damaged", f"{source.name}: the zip file cannot be read ({str(error)[:100]})") from error


def _infos(archive: zipfile.ZipFile, source: Source, kind: Kind) -> Iterator[zipfile.ZipInfo]:
    """The files, by the directory alone: nothing is inflated yet; a name is a label, never a path."""
    infos = [info for info in archive.infolist() if not info.is_dir() and not _litter(info.filename)]
    if len(infos) > _MOST_MEMBERS:
        raise oversized(f"{source.name} holds more than {_MOST_MEMBERS:,} files")
    most = source.limits.inflated(source.packed_bytes)
    if (promised := sum(info.file_size for info in infos)) > most:
        raise oversized(f"{source.name}: {source.packed_bytes:,} bytes inflate to {promised:,}, more than {most:,}")
    for info in infos:
        if info.filename.startswith("/") or ".." in PurePosixPath(info.filename).parts or "\\" in info.filename:
            raise unusable("bad_name", f"{source.name} holds {shown(info.filename, 80)}: a path that leads elsewhere")
        if not info.filename.lower().endswith(kind.endings):
            hint = f"a zip of {kind.many} holds {kind.formats} only, in a folder for each class"
            raise unusable(f"not_a_{kind.one}", f"{source.name} holds {shown(info.filename, 80)}", hint)
        if info.file_size > _MEMBER_BYTES:
            raise oversized(f"{shown(info.filename, 80)} is larger than {_MEMBER_BYTES:,} bytes")
        yield info


def _litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.endswith(_LITTER[1:]) or PurePosixPath(name).name.startswith("._")


def labels_of(members: list[Member]) -> list[str]:
    """Each file's class: the folder it lies in; none when there are no folders."""
    labels = [PurePosixPath(info.filename).parent.name for _, info in members]
    if any(labels) and not all(labels):
        name = members[labels.index("")][1].filename
        raise unusable("no_class", f"{shown(name, 80)} lies in no folder, others do", "a folder is a class")
    check_names({label for label in labels if label}, "the zip")
    return labels if any(labels) else []
