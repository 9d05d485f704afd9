"""The only room that speaks SQL: what is kept, and every verb on it as one transaction returning frozen rows."""

from service.storage.attempts import Fenced
from service.storage.backup import BackedUp
from service.storage.blobs import Blobs, sha256_of
from service.storage.check import Checkup, Finding
from service.storage.clause import STATUS, Clause, matches
from service.storage.conditions import DEFAULT_EXPERIMENT, EXPERIMENT
from service.storage.durable import full_told
from service.storage.external import Said
from service.storage.filter import identifier
from service.storage.filter import parse as parse_filter
from service.storage.hold import hold
from service.storage.keys import Held, Key, Keys, KeyScope, digest
from service.storage.metrics import direction
from service.storage.params import params as spec_params
from service.storage.parting import parting
from service.storage.reduce import Reduce
from service.storage.restore import Restored, restore
from service.storage.rows import (
    FINAL,
    AliasMove,
    Attempt,
    Blob,
    Checkpoint,
    DatasetRow,
    Delivery,
    Event,
    Experiment,
    Idempotency,
    Job,
    Live,
    ModelVersion,
    News,
    Orders,
    Owner,
    Page,
    Point,
    Report,
    Resolved,
    Run,
    Series,
    Standing,
    Status,
    StoppedBy,
    Webhook,
)
from service.storage.store import Store, existing, open
from service.storage.tally import BOUNDS_S, Histogram, Process, Tally, Timed, Timing
from service.storage.trials import Trial
from service.storage.uploads import Announced, Appending, Unfinished

__all__ = [
    "BOUNDS_S",
    "DEFAULT_EXPERIMENT",
    "EXPERIMENT",
    "FINAL",
    "STATUS",
    "AliasMove",
    "Announced",
    "Appending",
    "Attempt",
    "BackedUp",
    "Blob",
    "Blobs",
    "Checkpoint",
    "Checkup",
    "Clause",
    "DatasetRow",
    "Delivery",
    "Event",
    "Experiment",
    "Fenced",
    "Finding",
    "Held",
    "Histogram",
    "Idempotency",
    "Job",
    "Key",
    "KeyScope",
    "Keys",
    "Live",
    "ModelVersion",
    "News",
    "Orders",
    "Owner",
    "Page",
    "Point",
    "Process",
    "Reduce",
    "Report",
    "Resolved",
    "Restored",
    "Run",
    "Said",
    "Series",
    "Standing",
    "Status",
    "StoppedBy",
    "Store",
    "Tally",
    "Timed",
    "Timing",
    "Trial",
    "Unfinished",
    "Webhook",
    "digest",
    "direction",
    "existing",
    "full_told",
    "hold",
    "identifier",
    "matches",
    "open",
    "parse_filter",
    "parting",
    "restore",
    "sha256_of",
    "spec_params",
]
