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
    """Against the file as the kernel writes it (/proc/vmstat)."""
    monkeypatch.setattr(process, "_VMSTAT", tmp_path / "vmstat")
    assert process.oom_kills() == 0
    (tmp_path / "vmstat").write_text("pgfault 1024\noom_kill 2\nnuma_hit 7\n", encoding="ascii")
    assert process.oom_kills() == 2
