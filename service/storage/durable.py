"""Folders that a power cut does not take away, and disks that are full.

A name is certain only once the folder it stands in is fsynced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import StorageFull

PRIVATE = 0o700  # a data folder's: data sets, keys' hashes and webhooks' secrets lie in it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Makes the folder, and those above it, where they are missing; each name is durable when it returns.

    A folder that was there may be one that a killed process had not yet fsynced.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(mode, exist_ok=True)
    with suppress(PermissionError):  # it is not ours, so its folders are older than we are
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What was named, renamed or removed in the folder is so for good."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def full_told() -> Iterator[None]:
    """Around writing. Raises StorageFull when the disk takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the disk is full", hint="Delete data sets or jobs, or make room on the disk.") from error
        raise
