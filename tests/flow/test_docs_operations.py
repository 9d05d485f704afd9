"""The example of docs/operations.md is run as it is printed, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
LIMIT_S = 120


def test_jobs_are_paused_resumed_cancelled_forked_and_verified_as_the_page_says(standing: Any, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    script = block.replace("http://127.0.0.1:8000", standing.url)
    command, environ = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    steps, equal = done.stdout.split()
    assert (int(steps) % 5, equal) == (0, "True"), "five epochs, though two of them alone"
