"""Everything that can go wrong, as a tree; `code` is public and stable.

ServiceError
├── RequestError            the caller can mend it
│   ├── Unauthorized
│   ├── Forbidden
│   ├── InvalidSpec
│   ├── InvalidData
│   ├── NotFound
│   ├── Conflict
│   ├── PreconditionFailed
│   ├── MissingExtra
│   └── TooLarge
├── CapacityError           try again later
│   ├── RateExceeded
│   ├── QueueFull
│   ├── Draining
│   ├── StorageFull
│   └── StorageBusy
├── StorageDamaged          the database's file is; only a backup helps
└── RunError                why a run failed; kept on the run, never an HTTP status
    ├── Diverged
    ├── OutOfMemory
    ├── DataUnusable
    └── WorkerLost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place of a request; `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    code: str
    message: str
    hint: str | None = None
    allowed: tuple[str, ...] = ()


class ServiceError(Exception):
    """Base of all expected errors: one sentence, an optional hint, and every fault found."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.faults = tuple(faults)


class RequestError(ServiceError):
    """The caller can mend it."""


class InvalidSpec(RequestError):
    code = "invalid_spec"


class InvalidData(RequestError):
    code = "invalid_data"


class Unauthorized(RequestError):
    """Nobody knows who calls: no key, or none that is valid."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The caller's key does not go so far."""

    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class Conflict(RequestError):
    code = "conflict"


class PreconditionFailed(RequestError):
    """The thing has changed since the caller looked at it."""

    code = "precondition_failed"


class MissingExtra(RequestError):
    """This server was installed without the package that the request needs."""

    code = "missing_extra"


class TooLarge(RequestError):
    code = "too_large"


class CapacityError(ServiceError):
    """Nothing wrong with the request; try again after `retry_after_s` seconds."""

    retry_after_s: int = 5


class RateExceeded(CapacityError):
    code = "rate_exceeded"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message, hint="Ask again after Retry-After seconds, and less often.")
        self.retry_after_s = retry_after_s


class QueueFull(CapacityError):
    code = "queue_full"


class Draining(CapacityError):
    code = "draining"


class StorageFull(CapacityError):
    code = "storage_full"


class StorageBusy(CapacityError):
    code = "storage_busy"
    retry_after_s = 1


class StorageDamaged(ServiceError):
    """The database is not one, or its pages contradict themselves; to a client it is an internal error."""


class RunError(ServiceError):
    """Why a run failed. `retry` says whether another attempt could end otherwise."""

    retry: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str | None = None, step: int | None = None, layer: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.layer = layer


class Diverged(RunError):
    code = "diverged"


class OutOfMemory(RunError):
    code = "out_of_memory"


class DataUnusable(RunError):
    code = "data_unusable"


class WorkerLost(RunError):
    code = "worker_lost"
    retry = True


def did_you_mean(word: str, allowed: Sequence[str]) -> str | None:
    """A hint naming the closest allowed word, or None when nothing is close."""
    by_lower = {each.lower(): each for each in allowed}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"Did you mean {by_lower[close[0]]!r}?" if close else None
