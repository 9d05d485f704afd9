"""The demo, run as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LIMIT_S = 120  # promised: a minute on an idle machine


def test_the_demo_trains_predicts_and_leaves(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "demo", "--once"]
    done = subprocess.run(
        command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    accuracy = re.search(r"(\d+\.\d) % of (\d+)", done.stdout)
    assert accuracy is not None, done.stdout
    assert float(accuracy.group(1)) > 90
    assert int(accuracy.group(2)) == 297
    assert "\x1b" not in done.stdout, "plain when it is not a terminal"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.count("curl ") >= 2
    assert done.stderr == ""
