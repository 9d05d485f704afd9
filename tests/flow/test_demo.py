"""The demo, run as a user runs it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

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
    assert "This server ends here" in done.stdout
    assert done.stderr == ""


def test_in_a_terminal_the_server_stays_until_ctrl_c(root: Path, tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored behind an `&`
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "demo"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "80"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = _read(ours, until="press Ctrl-C")
        url = re.search(r"http://[\d.:]+", shown)
        assert url is not None, shown
        assert httpx.get(f"{url.group()}/v1/models/network").status_code == 200
        assert "━" in shown, "bars are drawn"
        process.send_signal(signal.SIGINT)
        assert "Stopped." in _read(ours, until="Stopped.")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url.group()}/health/live")


def _read(terminal: int, until: str) -> str:
    """What the terminal shows, up to a word or the time limit."""
    shown, deadline = b"", time.monotonic() + LIMIT_S
    while until.encode() not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:  # the other end is closed
                break
    return shown.decode()
