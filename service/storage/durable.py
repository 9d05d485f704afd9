"""Folders that a power cut does not take away: a name is certain only once the folder it stands in is fsynced."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Makes the folder, and those above it, where they are missing; each name is durable when it returns.

    A folder that was there may be one that a killed process had not yet fsynced.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    with suppress(PermissionError):  # it is not ours, so its folders are older than we are
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What was named, renamed or removed in the folder is so for good."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
