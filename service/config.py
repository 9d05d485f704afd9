"""The settings: one frozen object, read once from the environment and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from service.errors import Fault, InvalidSpec, did_you_mean

PREFIX = "NETWRIGHT_"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: "200000 100000" is two cores' time, "max 100000" all


def cores(quota: Path = _QUOTA) -> int:
    """How many cores this process may keep busy, not how many there are: a container has often fewer."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        most, period = quota.read_text("ascii").split()
        mine = min(mine, max(1, int(most) // int(period)))
    return mine


class Settings(BaseModel):
    """Every setting, by its environment name without the prefix in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allow_remote: bool = Field(default=False, description="Listen beyond this machine although nobody needs a key.")
    data_dir: Path = Field(default=Path("netwright-data"), description="Folder for everything the service writes.")
    workers: int = Field(default_factory=cores, ge=0, le=256, description="Worker processes; one per core.")
    processes: int = Field(
        default=1, ge=1, le=64, description="Processes that answer requests; they share the models' memory."
    )
    database_url: str = Field(default="", description="SQLAlchemy URL; empty means SQLite in the data folder.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    max_body_bytes: int = Field(default=1_000_000, ge=1_000, description="Largest JSON body.")
    max_upload_bytes: int = Field(default=4_000_000_000, ge=1_000, description="Largest uploaded data set.")
    requests_per_s: float = Field(
        default=0.0, ge=0, le=1e6, description="Requests a second that one key, or address, may make; 0: no limit."
    )
    max_queue: int = Field(default=1_000, ge=1, description="Most jobs that may wait.")
    max_model_bytes: int = Field(
        default=2_000_000_000, ge=1_000_000, description="Most memory a training run may need by its plan."
    )
    cache_bytes: int = Field(default=1_000_000_000, ge=0, description="Memory for models loaded to predict.")
    lease_s: float = Field(
        default=10.0, gt=0.5, description="Seconds without a sign of life until a run is taken over."
    )
    checkpoint_s: float = Field(default=5.0, gt=0, description="Most seconds between two checkpoints of a run.")
    keep_checkpoints: int = Field(
        default=3, ge=2, le=1_000, description="Newest checkpoints kept of each run, beside its best model."
    )

    webhook_url: str = Field(default="", description="Who is told of the end of every job that names nobody itself.")
    webhook_secret: str = Field(default="", description="Signs what webhooks are sent, unless a job brings its own.")
    webhook_allow_private: bool = Field(
        default=False, description="Webhooks may call addresses of this machine and its network."
    )

    @property
    def url(self) -> str:
        """The database's URL, resolved."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'netwright.db'}"


def load(environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Settings from `NETWRIGHT_*`, overridden by `given`.

    Raises InvalidSpec with every name that is unknown and every value that does not fit.
    """
    values: dict[str, Any] = {_field(name): value for name, value in environ.items() if name.startswith(PREFIX)}
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = [_fault(each) for each in error.errors()]
        raise InvalidSpec(faults[0].message, hint=faults[0].hint, faults=faults) from error


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _fault(error: ErrorDetails) -> Fault:
    name = PREFIX + str(error["loc"][0]).upper()
    if error["type"] != "extra_forbidden":
        return Fault(name, "invalid_setting", f"setting {name}: {error['msg']}")
    known = [PREFIX + each.upper() for each in Settings.model_fields]
    hint = did_you_mean(name, known) or ", ".join(known)
    return Fault(name, "unknown_setting", f"unknown setting {name}", hint)
