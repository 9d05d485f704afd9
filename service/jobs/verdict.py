"""What an attempt works with, and how it may end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from service.config import Settings
from service.data import Dataset, Reference
from service.jobs.reporter import Reporter
from service.storage import DatasetRow, Run, StoppedBy, Store
from service.tensors import Array


@dataclass(frozen=True)
class Work:
    """One attempt at one run."""

    store: Store
    settings: Settings
    run: Run
    reporter: Reporter

    def row(self) -> DatasetRow:
        """The data set's row. Raises NotFound when it has been deleted meanwhile."""
        return self.store.datasets.get(self.run.dataset_id or "")

    def dataset(self, row: DatasetRow) -> Dataset:
        return Dataset.open(self.store.blobs.path(row.blob))

    def referred(self, part: object) -> Dataset | None:
        """The data set of a part that is one of its own."""
        return self.dataset(self.store.datasets.get(part.id)) if isinstance(part, Reference) else None


@dataclass(frozen=True)
class Verdict:
    """How a run ended. `model`: arrays and metadata of the artifact to serve, None when there is none yet."""

    status: Literal["succeeded", "failed", "cancelled"]
    stopped_by: StoppedBy | None = None
    error: Mapping[str, Any] | None = None
    model: tuple[Mapping[str, Array], Mapping[str, str]] | None = None
    weights_sha256: str | None = None
    receipt: Mapping[str, Any] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


class GivenBack(Exception):  # noqa: N818  not an error: the run goes back to the queue, or rests
    """Everything that the run needs to go on has been published."""
