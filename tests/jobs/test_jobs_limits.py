"""Memory is bounded for the one who asked too much, and for nobody else."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from service.errors import OutOfMemory
from service.jobs import limits, process


def test_more_than_allowed_is_refused_and_the_bound_is_lifted_afterwards() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(OutOfMemory, match="100 MiB"), limits.memory(100 << 20):
        np.ones(1 << 28, np.float32)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert np.ones(1 << 26, np.float32).nbytes == 256 << 20


def test_what_is_allowed_is_given() -> None:
    with limits.memory(100 << 20):
        assert np.ones(1 << 24, np.float32).nbytes == 64 << 20


def test_no_bound_is_no_bound() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limits.memory(0):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_the_kernel_killed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the file as the kernel writes it (cgroup v2, memory.events)."""
    own = Path("/proc/self/cgroup").read_text(encoding="ascii").strip().rpartition("::")[2].lstrip("/")
    monkeypatch.setattr(process, "_CGROUPS", tmp_path)
    assert process.oom_kills() == 0
    (tmp_path / own).mkdir(parents=True, exist_ok=True)
    told = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"
    (tmp_path / own / "memory.events").write_text(told, encoding="ascii")
    assert process.oom_kills() == 2
