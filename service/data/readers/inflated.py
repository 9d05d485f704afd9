"""Files that a reader needs to jump about in: as they are, or inflated on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import IO

from service.data.source import Source
from service.data.spool import Spool


def plain(source: Source, spool: Spool) -> IO[bytes]:
    """The file, inflated on disk if it was packed; closed with the spool."""
    return kept(source.blocks(), spool) if source.packed else spool.own(open(source.path, "rb"))


def kept(blocks: Iterable[bytes], spool: Spool) -> IO[bytes]:
    """A file on disk of these bytes, from its beginning; closed with the spool."""
    file = spool.own(tempfile.TemporaryFile(dir=spool.folder))  # noqa: SIM115
    for block in blocks:
        file.write(block)
    file.seek(0)
    return file
