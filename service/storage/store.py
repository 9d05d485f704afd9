"""The store: one database, one folder of blobs, and a door for each noun."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from service.errors import NotFound, StorageFull
from service.storage import backup, check, idempotency, migrate, references, use
from service.storage.backup import BackedUp
from service.storage.blobs import GRACE_S, Blobs
from service.storage.check import Checkup
from service.storage.database import Database
from service.storage.datasets import Datasets
from service.storage.durable import PRIVATE, make_folder
from service.storage.events import Events
from service.storage.experiments import Experiments
from service.storage.jobs import Jobs
from service.storage.keys import Keys
from service.storage.metrics import Metrics
from service.storage.models import Models
from service.storage.reserve import Reserve
from service.storage.runs import Runs
from service.storage.tally import Tally
from service.storage.uploads import Uploads
from service.storage.url import check_place
from service.storage.webhooks import Webhooks


class Store:
    """Everything that is kept. Safe to use from any thread; each process opens its own."""

    def __init__(self, database: Database, data_dir: Path, reserve: Reserve, tally: Tally, used: int) -> None:
        self._database = database
        self._reserve = reserve
        self._use: int | None = used
        self.tally = tally
        self.data_dir = data_dir
        self.jobs = Jobs(database)
        self.runs = Runs(database)
        self.metrics = Metrics(database)
        self.events = Events(database)
        self.experiments = Experiments(database)
        self.datasets = Datasets(database)
        self.models = Models(database)
        self.webhooks = Webhooks(database)
        self.keys = Keys(database)
        self.blobs = Blobs(data_dir / "blobs")
        self.uploads = Uploads(data_dir / "uploads")

    def collect(self, *, grace_s: float = GRACE_S) -> int:
        """Removes the files that nothing has pointed at for `grace_s`, and keys that are too old to be sent again.

        Called now and then; returns the bytes freed.
        """
        present = set(self.blobs.every())
        with self._database.read() as connection:
            referenced = references.every(connection)
        freed = self.blobs.delete(present - referenced, grace_s=grace_s)
        self.blobs.tidy()
        self.tally.fold()
        with suppress(StorageFull), self._database.write() as connection:  # the reserve is for what people delete
            idempotency.expire(connection)
        self._reserve.keep()
        return freed

    @property
    def crowded(self) -> bool:
        """Whether the disk is nearly full, so that what can be removed should be soon."""
        return self._reserve.crowded

    def check(self) -> Checkup:
        """Whether all of it is sound; reads every file, and may run beside a server."""
        return check.check(self._database, self.blobs)

    def backup(self, out: BinaryIO) -> BackedUp:
        """Writes a backup while everything goes on. Raises InvalidSpec for a store that is not SQLite's."""
        return backup.backup(self._database, self.blobs, out)

    def close(self) -> None:
        """Closes its connections; what was acknowledged is on disk already."""
        self._database.close()
        self.tally.close()
        if self._use is not None:
            os.close(self._use)
            self._use = None


def open(url: str, data_dir: Path) -> Store:
    """Opens the store in a folder, making or upgrading it first where that is due.

    Raises InvalidSpec where there can be no database, PermissionError where this user may not write.
    """
    make_folder(data_dir, PRIVATE)
    reserve = Reserve(data_dir / "reserve")
    database = Database(url, reserve)
    check_place(url)
    store = _opened(database, data_dir, reserve, lambda database: migrate.migrate(database, data_dir))
    reserve.keep()
    return store


def existing(url: str, data_dir: Path) -> Store:
    """Opens a store as it is. Raises NotFound when there is none, ServiceError when it is of another version."""
    reserve = Reserve(data_dir / "reserve")
    database = Database(url, reserve)
    if not database.exists():
        raise NotFound(f"no store in {data_dir}", hint="--data-dir (or NETWRIGHT_DATA_DIR) names its folder.")
    return _opened(database, data_dir, reserve, migrate.require)


def _opened(database: Database, data_dir: Path, reserve: Reserve, ready: Callable[[Database], None]) -> Store:
    used = use.shared(data_dir)
    try:
        ready(database)
    except BaseException:
        database.close()
        os.close(used)
        raise
    tally = Tally(data_dir / "tally")
    database.time_commits(tally["commit"].add)
    return Store(database, data_dir, reserve, tally, used)
