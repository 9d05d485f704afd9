"""What becomes of a job that passed the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from service.errors import Fault, InvalidData, InvalidSpec, TooLarge
from service.storage import Trial

SLACK_BYTES = 512 << 20  # beyond the plan, before a run is told that it took too much


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A dry run. `layers`: index, kind, shape_in, shape_out, parameters of each. `bytes`: the run's peak."""

    layers: tuple[dict[str, Any], ...]
    parameters: int
    bytes: int
    estimated_seconds: float
    warnings: tuple[str, ...]
    fits: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """What `store.jobs.submit` needs of a job that passed. `spec` is resolved: every default filled in."""

    spec: dict[str, Any]
    dataset_id: str
    memory_bytes: int
    plan: JobPlan
    model_blob: str | None = None  # the model's file that the job works with, kept for it
    trials: tuple[Trial, ...] = ()  # of a search: its runs

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the plan, but for the first of a search: how many trainings it is."""
        return self.plan.warnings[1:] if self.trials else self.plan.warnings


@contextmanager
def inside(prefix: str) -> Iterator[None]:
    """Pointers of faults found inside begin with the prefix."""
    try:
        yield
    except (InvalidSpec, InvalidData, TooLarge) as error:
        error.faults = tuple(replace(fault, pointer=prefix + fault.pointer) for fault in error.faults)
        raise


def check_size(needed: int, limit_bytes: int, pointer: str) -> None:
    """Raises TooLarge."""
    if needed > limit_bytes:
        message = f"the run would need {_mebibytes(needed)} of memory, {_mebibytes(limit_bytes)} are allowed"
        hint = "Make it smaller, or raise NETWRIGHT_MAX_MODEL_BYTES."
        raise TooLarge(message, hint=hint, faults=[Fault(pointer, "too_large", message, hint)])


def _mebibytes(count: int) -> str:
    return f"{-(-count // 2**20):,} MiB"
