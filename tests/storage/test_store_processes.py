"""Many processes on one store, and processes that die in the middle of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from service.storage.database import BUSY_S

SWARM = Path(__file__).with_name("swarm.py")


def swarm(root: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", str(SWARM), *words]
    environment = os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_sixteen_writers_and_readers_never_meet_a_locked_store(root: Path, tmp_path: Path) -> None:
    result = swarm(root, "crowd", str(tmp_path / "data"))
    assert result["traces"] == []
    assert set(result["codes"]) == {0}
    assert result["jobs"] == result["ended"] + result["waiting"] == 16 * 4
    assert set(result["attempts"]) <= {0, 1}  # no run was claimed twice
    assert result["points"] == [500]
    assert result["events"] == result["jobs"] + result["ended"] * (2 + 5)
    assert result["longest_s"] < BUSY_S


def test_what_was_acknowledged_survives_any_kill(root: Path, tmp_path: Path) -> None:
    result = swarm(root, "killed", str(tmp_path / "data"), "2.5", "1")
    assert result["kills"] >= 6
    assert result["acknowledged"] > result["kills"]
    broken = ("traces", "lost_jobs", "lost_ends", "broken_runs", "torn_blobs")
    assert {what: result[what] for what in broken} == {what: [] for what in broken}
    assert result["integrity"] == "ok"
