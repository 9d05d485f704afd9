"""A file that takes up room while there is some, so that on a full disk there is room to delete things."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 8 << 20


class Reserve:
    """Kept by whoever opens the store; given by the verbs that make room."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Takes the room, unless it is taken or the disk has little more than that."""
        if self._path.exists() or self.crowded:
            return
        with suppress(OSError), open(self._path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    @property
    def crowded(self) -> bool:
        """Whether the disk has little more room than that."""
        return self._free() < 4 * RESERVE_BYTES

    def give(self) -> None:
        """Frees it, when the disk is about to be full."""
        if self._free() < RESERVE_BYTES:
            self._path.unlink(missing_ok=True)

    def _free(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize
