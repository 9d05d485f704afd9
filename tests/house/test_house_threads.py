"""A worker computes on as many threads as it was granted: BLAS that takes more slows everybody down many times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.config import Settings
from service.jobs.local import environment

COUNT = """
import threading
import numpy as np
from pathlib import Path
a = np.ones((600, 600))
a @ a
print(len(list(Path("/proc/self/task").iterdir())) - threading.active_count() + 1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to count threads")
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_worker_has_no_more_blas_threads_than_granted(cpus: int, tmp_path: Path) -> None:
    env = environment(Settings(data_dir=tmp_path), cpus=cpus)
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) <= cpus
