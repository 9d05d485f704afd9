"""A disk that may lose its power: replays recorded operations and makes what could be left of them at any moment.

What a file held when it was last fsynced stays. Of the writes since then any sector may be there or not, in any order;
of what happened to names, only what was done before their folder was last fsynced is certain.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from random import Random

SECTOR = 512
_HEADER = struct.Struct("<IIIIQQQ")


class What(IntEnum):
    """As in power_shim.c."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    SYNC_FOLDER = 5
    MKDIR = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    RMDIR = 10


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded operation; paths are relative to the recorded folder, which is ''."""

    what: What
    inode: int
    offset: int
    path: str
    other: str
    data: bytes


def recorded(log: Path, root: Path) -> Iterator[Operation]:
    """The operations, in their order."""
    data, at = log.read_bytes(), 0
    while at < len(data):
        what, path, other, _, inode, offset, size = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        first, second = data[at : at + path], data[at + path : at + path + other]
        at += path + other
        yield Operation(
            What(what), inode, offset, _relative(first, root), _relative(second, root), data[at : at + size]
        )
        at += size


def _relative(path: bytes, root: Path) -> str:
    name = path.decode()
    return os.path.relpath(name, root).removeprefix(".") if name.startswith(str(root)) else name


@dataclass(eq=False)
class File:
    """What of a file is certain, and what was done to it since."""

    certain: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, data), or (size, None)

    def sync(self) -> None:
        for offset, data in self.since:
            _apply(self.certain, offset, data)
        self.since.clear()

    def left(self, fate: Fate) -> bytearray:
        """What it may hold after the power was cut."""
        found = bytearray(self.certain)
        for offset, data in self.since:
            if data is None:
                if fate.happens():
                    _apply(found, offset, None)
                continue
            for start, end in _sectors(offset, len(data)):
                if fate.happens():
                    if start > len(found):
                        found += fate.filling(start - len(found))
                    _apply(found, start, data[start - offset : end - offset])
        return found


def _sectors(offset: int, size: int) -> Iterator[tuple[int, int]]:
    start = offset
    while start < offset + size:
        end = min(offset + size, (start // SECTOR + 1) * SECTOR)
        yield start, end
        start = end


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content += bytes(offset - len(content))
        return
    content += bytes(max(0, offset - len(content)))
    content[offset : offset + len(data)] = data


@dataclass
class Fate:
    """How one power cut treats what is not certain: each part of it stays with a chance."""

    random: Random
    data: float
    names: Callable[[int], list[bool]]
    garbage: bool  # a sector that was never written holds what the disk held before

    @classmethod
    def drawn(cls, random: Random) -> Fate:
        data = random.choice([0.0, 1.0, 1.0, 0.5, random.random()])
        kept = random.choice([0.0, 1.0, 1.0, 0.5])

        def scattered(n: int) -> list[bool]:
            return [random.random() < kept for _ in range(n)]

        def in_order(n: int) -> list[bool]:
            cut = random.randint(0, n)
            return [place < cut for place in range(n)]

        return cls(random, data, random.choice([scattered, in_order]), random.random() < 0.5)

    def happens(self) -> bool:
        return self.random.random() < self.data

    def filling(self, size: int) -> bytes:
        return self.random.randbytes(size) if self.garbage else bytes(size)


Names = dict[str, "File | None"]  # None: a folder
Change = dict[str, "File | str | None"]  # GONE where the name is taken away
GONE = "gone"


@dataclass
class Disk:
    """All files below the recorded folder. `lying`: paths of which a fsync says that it is done, and does nothing."""

    lying: Callable[[str], bool] = lambda path: False
    certain: Names = field(default_factory=dict)
    since: list[Change] = field(default_factory=list)
    now: Names = field(default_factory=dict)
    inodes: dict[int, File] = field(default_factory=dict)

    def do(self, operation: Operation) -> None:
        """One operation happens."""
        path, file = operation.path, self.inodes.get(operation.inode)
        match operation.what:
            case What.CREATE:
                self.inodes[operation.inode] = made = File()
                self._change({path: made})
            case What.WRITE:
                assert file is not None
                file.since.append((operation.offset, operation.data))
            case What.TRUNCATE:
                assert file is not None
                file.since.append((operation.offset, None))
            case What.SYNC if file is not None and not self.lying(path):
                file.sync()
            case What.SYNC_FOLDER if not self.lying(path + "/"):
                self._sync_folder(path)
            case What.MKDIR:
                self._change({path: None})
            case What.RENAME:
                assert self.now[path] is not None, "a folder was renamed: the model does not know how"
                self._change({path: GONE, operation.other: self.now[path]})
            case What.LINK:
                self._change({operation.other: self.now[path]})
            case What.UNLINK | What.RMDIR:
                self._change({path: GONE})

    def left(self, fate: Fate) -> dict[str, bytearray | None]:
        """What may be found after the power was cut now: by path the content, None for a folder."""
        names = dict(self.certain)
        for change, happened in zip(self.since, fate.names(len(self.since)), strict=True):
            if happened:
                _rename(names, change)
        kept: dict[str, bytearray | None] = {"": None}
        for path in sorted(names):
            if kept.get(os.path.dirname(path), GONE) is None:
                file = names[path]
                kept[path] = None if file is None else file.left(fate)
        return kept

    def whole(self) -> dict[str, bytearray | None]:
        """What is there when nothing is lost."""
        everything = Fate(Random(0), 1.0, lambda n: [True] * n, garbage=False)
        return {path: None if file is None else file.left(everything) for path, file in self.now.items()}

    def _change(self, change: Change) -> None:
        _rename(self.now, change)
        self.since.append(change)

    def _sync_folder(self, folder: str) -> None:
        waiting: list[Change] = []
        for change in self.since:
            if any(os.path.dirname(path) == folder for path in change):
                _rename(self.certain, change)
                for earlier in waiting:
                    for path in change:
                        earlier.pop(path, None)
            else:
                waiting.append(change)
        self.since = [change for change in waiting if change]


def _rename(names: Names, change: Change) -> None:
    for path, file in change.items():
        if isinstance(file, str):
            names.pop(path, None)
        else:
            names[path] = file


def written(image: dict[str, bytearray | None], folder: Path) -> None:
    """Makes the files."""
    folder.mkdir()
    for path, content in image.items():
        if content is None:
            (folder / path).mkdir(exist_ok=True)
        else:
            (folder / path).write_bytes(content)
