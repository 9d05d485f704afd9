"""The only room that speaks SQL: what is kept, and every verb on it as one transaction returning frozen rows."""

from service.storage.attempts import Fenced
from service.storage.blobs import Blobs
from service.storage.check import Checkup, Finding
from service.storage.external import Said
from service.storage.hold import hold
from service.storage.metrics import direction
from service.storage.reduce import Reduce
from service.storage.rows import (
    FINAL,
    AliasMove,
    Attempt,
    Blob,
    Checkpoint,
    DatasetRow,
    Event,
    Idempotency,
    Job,
    Live,
    ModelVersion,
    News,
    Orders,
    Owner,
    Page,
    Report,
    Resolved,
    Run,
    Series,
    Standing,
    Status,
    StoppedBy,
)
from service.storage.store import Store, open

__all__ = [
    "FINAL",
    "AliasMove",
    "Attempt",
    "Blob",
    "Blobs",
    "Checkpoint",
    "Checkup",
    "DatasetRow",
    "Event",
    "Fenced",
    "Finding",
    "Idempotency",
    "Job",
    "Live",
    "ModelVersion",
    "News",
    "Orders",
    "Owner",
    "Page",
    "Reduce",
    "Report",
    "Resolved",
    "Run",
    "Said",
    "Series",
    "Standing",
    "Status",
    "StoppedBy",
    "Store",
    "direction",
    "hold",
    "open",
]
