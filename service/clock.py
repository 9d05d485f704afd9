"""The only place that reads a clock, so that a test can put another in its stead."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall time, aware, UTC. For people to read; nothing is ever decided by it."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds since the machine started; equal in all its processes, never set back or forward."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def processor_s() -> float:
    """Seconds that a processor has worked for this thread; other load does not count."""
    return time.thread_time()


def boot_id() -> str:
    """Names this start of the machine; monotonic times compare only within one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
