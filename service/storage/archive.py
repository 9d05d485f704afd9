"""A backup's file: an ordinary tar of regular files, written and read as a stream, its members never taken for paths.

First `manifest.json`, then `netwright.db`, then each artifact as `blobs/ab/<sha256>`. Only the 512 bytes of a member's
header are ever believed: no long names, links or extensions, which a backup has no use for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import BLOCKSIZE, GNU_FORMAT, REGTYPE, TarError, TarInfo
from typing import BinaryIO

from service.errors import InvalidData

MANIFEST, DATABASE = "manifest.json", "netwright.db"
HINT = "Is it whole, and was it made by `netwright backup`?"
_END = bytes(2 * BLOCKSIZE)
_PIECE = 1 << 20


def name_of(sha256: str) -> str:
    """What an artifact is called in the archive."""
    return f"blobs/{sha256[:2]}/{sha256}"


def write(out: BinaryIO, name: str, size: int, content: BinaryIO, moment_s: float) -> None:
    """Adds one member."""
    member = TarInfo(name)
    member.size, member.mtime, member.mode = size, int(moment_s), 0o600
    out.write(member.tobuf(GNU_FORMAT))
    left = size
    while left:
        piece = content.read(min(_PIECE, left))
        if not piece:
            raise InvalidData(f"{name} became shorter while it was copied")
        out.write(piece)
        left -= len(piece)
    out.write(bytes(-size % BLOCKSIZE))


def end(out: BinaryIO) -> None:
    """Says that nothing follows."""
    out.write(_END)


@dataclass
class Member:
    """A file in the archive: what it is called there, how long it is, and its bytes, to be read once."""

    name: str
    size: int
    _source: BinaryIO

    def pieces(self) -> Iterator[bytes]:
        """All of its bytes. Raises InvalidData when the archive ends before."""
        left = self.size
        while left:
            piece = _exactly(self._source, min(_PIECE, left))
            left -= len(piece)
            yield piece
        _exactly(self._source, -self.size % BLOCKSIZE)


def members(source: BinaryIO) -> Iterator[Member]:
    """The files, in order; each must be read to its end before the next. Raises InvalidData for what is no backup."""
    while (head := _exactly(source, BLOCKSIZE)) != bytes(BLOCKSIZE):
        try:
            found = TarInfo.frombuf(head, "utf-8", "strict")
        except (TarError, UnicodeError) as error:
            raise InvalidData(f"not a backup, or a damaged one: {error}", hint=HINT) from error
        if found.type != REGTYPE:
            raise InvalidData(f"not a backup: {found.name!r} in it is no regular file", hint=HINT)
        yield Member(found.name, found.size, source)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise InvalidData("the backup is cut short", hint=HINT)
    return data
