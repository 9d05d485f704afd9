"""The tables. Moments are integers, microseconds since 1970 UTC; a `key` is inside only, an `id` is public."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only what is called INTEGER
_Json = JSON(none_as_null=True)


def _key() -> Column[int]:
    return Column("key", _Key, primary_key=True)


def _to(column: str, **given: Any) -> ForeignKey:
    return ForeignKey(column, ondelete="CASCADE", **given)


def _summary() -> list[Column[Any]]:
    """What is known of many points; minimum, maximum and sum are those of the finite values."""
    return [
        Column("n", BigInteger, nullable=False),
        Column("nonfinite", BigInteger, nullable=False),
        Column("first_step", BigInteger, nullable=False),
        Column("last_step", BigInteger, nullable=False),
        Column("min_step", BigInteger),
        Column("max_step", BigInteger),
        Column("first", Float),  # here and below NULL for NaN, which SQLite does not have; infinities as they are
        Column("last", Float),
        Column("min", Float),
        Column("max", Float),
        Column("sum", Float),
    ]


datasets = Table(
    "datasets",
    metadata,
    _key(),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("blob", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("description", _Json, nullable=False),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    _key(),
    Column("id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False, index=True),
    Column("name", Text, index=True),
    Column("status", Text, nullable=False, index=True),
    Column("phase", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("dataset_id", Text, ForeignKey("datasets.id"), index=True),
    Column("attempt", Integer, nullable=False),
    Column("progress", Float, nullable=False),
    Column("eta_s", Float),
    Column("stop_requested", Text),
    Column("stopped_by", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("tags", _Json, nullable=False),
    Column("error", _Json),
    Column("spec", _Json, nullable=False),
    Column("warnings", _Json),
    sqlite_autoincrement=True,
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("job_key", _Key, _to("jobs.key"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

transitions = Table(
    "transitions",
    metadata,
    _key(),
    Column("job_key", _Key, _to("jobs.key"), nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _key(),
    Column("id", Text, nullable=False, unique=True),
    Column("job_id", Text, _to("jobs.id"), index=True),
    Column("type", Text, nullable=False, index=True),
    Column("name", Text, index=True),
    Column("status", Text, nullable=False),
    Column("dataset_id", Text, ForeignKey("datasets.id"), index=True),
    Column("urgency", Integer, nullable=False),  # minus the priority, so that both parts of the queue's order ascend
    Column(
        "place", BigInteger, nullable=False, index=True
    ),  # in the queue; a run that comes back keeps it and so comes first
    Column("token", Integer, nullable=False),  # of the newest attempt; every write of a worker is conditional on it
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),  # blame for lives lost since the last new checkpoint, see attempts.py
    Column("cpus", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),  # grows with every change of the run or its metrics
    Column("step", BigInteger, nullable=False),
    Column("stop_requested", Text),
    Column("weights_sha256", Text),
    Column("model_blob", Text, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("notes", Text, nullable=False),
    Column("tags", _Json, nullable=False),
    Column("error", _Json),
    Column("receipt", _Json),
    Column("spec", _Json, nullable=False),
    Column("report", _Json, nullable=False),
    Index(None, "status", "urgency", "place"),
    sqlite_autoincrement=True,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("run_key", _Key, _to("runs.key"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

run_params = Table(
    "run_params",  # the fields of `spec`, for those who look for runs by them; see params.py
    metadata,
    Column("run_key", _Key, _to("runs.key"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("number", Float),
    Index(None, "name", "text"),
    Index(None, "name", "number"),
    sqlite_with_rowid=False,
)

experiments = Table(
    "experiments",  # those that MLflow's clients made; a run is in one by its tag experiment=<name>
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("tags", _Json, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_key", _Key, _to("runs.key"), primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("lease_s", Float, nullable=False),
    Column("lease_until", Float, nullable=False),  # monotonic seconds, of the machine start `boot_id`
    Column("claimed_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, index=True),
    Column("outcome", Text),  # a final status, paused, released or lost
    Column("words", Text),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _key(),
    Column("run_key", _Key, _to("runs.key"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("blob", Text, nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "run_key", "kind", "step"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("run_id", Text, _to("runs.id"), index=True),
    Column("job_id", Text, _to("jobs.id"), index=True),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", _Json, nullable=False),
    sqlite_autoincrement=True,
)

series = Table(
    "series",
    metadata,
    _key(),
    Column("run_key", _Key, _to("runs.key"), nullable=False),
    Column("name", Text, nullable=False),
    *_summary(),
    Column("tail_n", Integer, nullable=False),
    Column("tail", LargeBinary, nullable=False),  # the newest points, 24 bytes each; the older ones are in blocks
    Column(
        "rewrites", Integer, nullable=False, server_default="0"
    ),  # writes that were more than an addition at the end
    UniqueConstraint("run_key", "name"),
    Index(None, "name", "min", "run_key"),  # with the run at hand, a search never opens the wide rows
    Index(None, "name", "max", "run_key"),
    Index(None, "name", "last", "run_key"),
)

blocks = Table(
    "blocks",
    metadata,
    _key(),
    Column("run_key", _Key, _to("runs.key"), nullable=False),
    Column("name", Text, nullable=False),
    *_summary(),
    Column("outline", LargeBinary, nullable=False),  # what a chart needs of every 256 points
    Column("data", LargeBinary, nullable=False),
    Index(None, "run_key", "name", "first_step"),
)

webhooks = Table(
    "webhooks",
    metadata,
    _key(),
    Column("id", Text, nullable=False, unique=True),
    Column("job_id", Text, _to("jobs.id"), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("secret", Text),
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, index=True),  # NULL while the job has not ended, and when it is settled
    Column("settled_at", BigInteger),
    Column("outcome", Text),  # delivered or failed
    Column("answer", Integer),  # the status of the last answer
    Column("words", Text),  # why it was not heard
)

keys = Table(
    "keys",
    metadata,
    _key(),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),  # read, submit or admin
    Column("sha256", Text, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),  # the row stays, so that nothing opens again by a revocation
)

model_versions = Table(
    "model_versions",
    metadata,
    _key(),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False, index=True),
    Column("blob", Text, nullable=False, index=True),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("name", "version"),
)

aliases = Table(
    "aliases",
    metadata,
    _key(),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer),  # NULL: taken away
    Column("at", BigInteger, nullable=False),
    Index(None, "name", "alias"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
