"""The store: one database, one folder of blobs, and a door for each noun."""

from __future__ import annotations

from pathlib import Path

from service.storage import check, migrate, references
from service.storage.blobs import GRACE_S, Blobs
from service.storage.check import Checkup
from service.storage.database import Database
from service.storage.datasets import Datasets
from service.storage.durable import make_folder
from service.storage.events import Events
from service.storage.jobs import Jobs
from service.storage.metrics import Metrics
from service.storage.models import Models
from service.storage.reserve import Reserve
from service.storage.runs import Runs


class Store:
    """Everything that is kept. Safe to use from any thread; each process opens its own."""

    def __init__(self, database: Database, data_dir: Path, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self.data_dir = data_dir
        self.jobs = Jobs(database)
        self.runs = Runs(database)
        self.metrics = Metrics(database)
        self.events = Events(database)
        self.datasets = Datasets(database)
        self.models = Models(database)
        self.blobs = Blobs(data_dir / "blobs")

    def collect(self, *, grace_s: float = GRACE_S) -> int:
        """Removes the files that nothing points at, but none put within `grace_s`; returns the bytes freed."""
        present = set(self.blobs.every())
        with self._database.read() as connection:
            referenced = references.every(connection)
        freed = self.blobs.delete(present - referenced, grace_s=grace_s)
        self._reserve.keep()
        return freed

    def check(self) -> Checkup:
        """Whether all of it is sound; reads every file, and may run beside a server."""
        return check.check(self._database, self.blobs)

    def close(self) -> None:
        """Closes its connections; what was acknowledged is on disk already."""
        self._database.close()


def open(url: str, data_dir: Path) -> Store:
    """Opens the store in a folder, making or upgrading it first where that is due."""
    make_folder(data_dir)
    reserve = Reserve(data_dir / "reserve")
    database = Database(url, reserve)
    try:
        migrate.migrate(database, data_dir)
    except BaseException:
        database.close()
        raise
    reserve.keep()
    return Store(database, data_dir, reserve)
