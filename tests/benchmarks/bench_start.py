"""From the command to the first answer, and what the idle server weighs; `make bench-start`."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from stocked import stocked

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[2]
ROUNDS = 5
FIRST_ANSWER_S = 1.5
IDLE_MIB = 100
LEAVES_S = 3.0
MANY = (1, 10_000, 100_000)
SLOWER = 1.1  # at most, with many runs, than with one
STEPS = "{name:12} first answer {first:.2f} s   leaves in {leaves:.2f} s   resident {idle:.0f} MiB   (medians of {n})"


@pytest.mark.parametrize("known", [False, True], ids=["new folder", "known folder"])
def test_a_server_answers_soon_and_is_small(known: bool, tmp_path: Path) -> None:
    rounds = [_round(tmp_path / ("known" if known else f"new{i}")) for i in range(ROUNDS)]
    first, idle, leaves = (statistics.median(each) for each in zip(*rounds, strict=True))
    name = "known folder" if known else "new folder"
    sys.stdout.write("\n" + STEPS.format(name=name, first=first, leaves=leaves, idle=idle, n=ROUNDS))
    assert first <= FIRST_ANSWER_S
    assert idle <= IDLE_MIB
    assert leaves <= LEAVES_S


def test_many_runs_do_not_slow_the_start(tmp_path: Path) -> None:
    for runs in MANY:
        stocked(tmp_path / f"{runs}", runs)
    rounds = {runs: [_round(tmp_path / f"{runs}") for _ in range(ROUNDS)] for runs in MANY}
    first = {runs: statistics.median(answered for answered, _, _ in found) for runs, found in rounds.items()}
    for runs, answered in first.items():
        sys.stdout.write(f"\n{runs:7,} runs   first answer {answered:.2f} s   {answered / first[1]:.2f} x one run")
    assert max(first.values()) <= SLOWER * first[1]


def _round(folder: Path) -> tuple[float, float, float]:
    """Seconds to the first answer, resident MiB a second later, seconds from SIGTERM to the end."""
    port = _free_port()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--data-dir", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _first_answer(f"http://127.0.0.1:{port}/health/ready")
        answered = time.perf_counter() - begin
        time.sleep(1.0)  # what its start left behind settles
        idle = _resident_mib(process.pid)
        begin = time.perf_counter()
        process.terminate()
        process.wait()
        return answered, idle, time.perf_counter() - begin


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_answer(url: str) -> None:
    while True:
        try:
            assert httpx.get(url, timeout=30).status_code == 200
        except httpx.TransportError:
            time.sleep(0.005)
        else:
            return


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) / 1024
