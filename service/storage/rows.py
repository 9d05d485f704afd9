"""What the verbs of the store return: frozen rows that never touch the database again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
StoppedBy = Literal["epochs", "early_stopping", "time", "steps", "halving", "target", "user"]
T = TypeVar("T")
FINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Job:
    """What was submitted, its place in the queue and its state."""

    id: str
    type: str  # train, ngram, search, evaluate
    name: str | None
    tags: tuple[str, ...]
    status: Status
    phase: str  # a word for people: waiting, preparing, training, ...
    priority: int  # higher goes first
    spec: Mapping[str, Any]  # resolved: every default filled in
    run_ids: tuple[str, ...]
    attempt: int  # process lives so far
    progress: float  # 0..1
    eta_s: float | None
    stop_requested: str | None  # cancel or pause
    queue_position: int | None  # 1 is next; only while queued
    stopped_by: StoppedBy | None
    error: Mapping[str, Any] | None  # code, message, hint, step, layer
    transitions: tuple[Mapping[str, Any], ...]  # {status, at}
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    warnings: tuple[str, ...] = ()  # what its plan warned of


@dataclass(frozen=True, slots=True)
class Run:
    """The record of one training of one resolved spec."""

    id: str
    job_id: str | None  # None for an external run
    type: str
    name: str | None
    tags: tuple[str, ...]
    notes: str
    status: Status
    spec: Mapping[str, Any]
    dataset_id: str | None
    step: int
    summary: Mapping[str, Mapping[str, Any]]  # by metric: first, last, min, max, best and their steps
    weights_sha256: str | None
    model_blob: str | None  # the best weights, ready to serve
    receipt: Mapping[str, Any] | None  # spec, data, engine version, BLAS, shards
    report: Mapping[str, Any]  # what the run found at its end: confusion, worst rows, warnings, ...
    error: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    revision: int = 0  # grows with every change of the run or its metrics


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process life inside a run. `token` grows with every claim and fences every write."""

    run_id: str
    token: int
    cpus: int = 1
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process on this machine, named so that it can be told from a later one with the same pid."""

    pid: int
    started: str  # process start time as the kernel tells it
    boot_id: str


@dataclass(frozen=True, slots=True)
class Live:
    """An attempt that has not ended yet, as the store knows it."""

    attempt: Attempt
    owner: Owner
    lease_left_s: float  # zero or less: over; minus infinity when the machine has started anew since
    stop_requested: str | None  # cancel or pause


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published state of a run: resume reads this row, never a folder listing."""

    run_id: str
    step: int
    kind: Literal["state", "model"]  # state: go on from here; model: weights to serve
    blob: str  # sha256 of the file, which is its name
    bytes: int
    weights_sha256: str
    token: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One line of what happened; `id` is its sequence number in the store."""

    id: int
    run_id: str | None
    job_id: str | None
    kind: str  # queued, started, epoch, improved, checkpoint, warning, lost, requeued, finished, ...
    data: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """What somebody is to be told now: that the job has ended."""

    id: str  # the same at every attempt
    job_id: str
    url: str
    secret: str | None
    attempts: int  # so far


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who wants to hear of a job's end, and whether they have."""

    id: str
    job_id: str
    url: str
    signed: bool
    status: str  # waiting (for the end), due, delivered or failed
    attempts: int
    answer: int | None  # the status of the last answer
    error: str | None  # why it was not heard
    due_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job or a run stands; an external run has a status and no more."""

    status: Status
    phase: str | None
    progress: float | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """A name that runs are put under, by a tag."""

    name: str
    tags: Mapping[str, str]
    created_at: datetime | None  # None when runs alone tell of it


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """An immutable upload. `blob` is the parsed form, one safetensors file."""

    id: str
    name: str
    kind: str  # table, array, image, series, text
    rows: int
    sha256: str  # of the upload as it came
    blob: str
    bytes: int
    description: Mapping[str, Any]  # columns with types and statistics, warnings
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A named, numbered pointer at a run's checkpoint."""

    name: str
    version: int
    run_id: str
    blob: str
    created_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One line of an alias's history, newest last; `version` is None where it was taken away."""

    name: str
    alias: str
    version: int | None
    at: datetime
    revision: int = 0  # grows with every move of any alias: an ETag


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a model reference means now."""

    ref: str
    run_id: str
    type: str  # of the run: train, ngram
    blob: str
    name: str | None = None
    version: int | None = None
    state: str | None = None  # of a run still training: the newest state, when its weights are newer than the blob's

    @property
    def key(self) -> str:
        """Names the weights that are meant."""
        return self.state or self.blob


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in the blob store; its name is its sha256."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The caller's key for a creating request, and what tells another request from a repeated one."""

    key: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a list. `next` is the cursor to give as `after`; None at the end."""

    data: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Points of one metric of one run in columns, steps ascending; values may be NaN or infinite."""

    name: str
    steps: Any  # int64
    values: Any  # float64
    times: Any  # int64, milliseconds since 1970 UTC
    n: int  # points in the asked range before any reducing
    reduced: str | None  # how, or None when these are all
    epochs: Any = None  # float64: of each point, where asked for; NaN where it is not known; so the rows per second
    rows_per_s: Any = None
    continues: bool = False  # these points follow those that the caller has; else they replace them


class Point(NamedTuple):
    """One value of a metric."""

    step: int
    time: int  # milliseconds since 1970 UTC
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What is new in a run's series since a cursor, and the next cursor."""

    series: Mapping[str, Series]
    next: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells the store in one transaction: metrics first, then the checkpoint."""

    series: Mapping[str, tuple[Any, ...]] = field(
        default_factory=dict
    )  # name: (steps, values) or (steps, values, times in ms)
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # (kind, data)
    step: int | None = None  # None leaves as it is, here and below
    phase: str | None = None
    progress: float | None = None
    eta_s: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()  # created_at and token are the store's to fill


@dataclass(frozen=True, slots=True)
class Orders:
    """What the store answers a reporting worker."""

    stop: Literal["cancel", "pause"] | None
