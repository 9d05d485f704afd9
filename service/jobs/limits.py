"""A bound on the memory of one attempt, so that what is too large ends with a sentence and not with the machine."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import OutOfMemory


@contextmanager
def memory(bytes_: int) -> Iterator[None]:
    """Lets the block allocate this much beyond what the process has; 0 is no bound. Raises OutOfMemory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = bytes_ and _data_bytes() + bytes_
    try:
        if bound and (hard == resource.RLIM_INFINITY or bound < hard):
            resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
        yield
    except MemoryError as error:
        raise OutOfMemory(
            f"the run needed more memory than its {bytes_ / 2**20:,.0f} MiB"
            if bytes_
            else "the machine's memory is full",
            hint="Use a smaller batch or network, or raise max_memory_bytes.",
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What the kernel counts against RLIMIT_DATA now: private memory that may be written."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
