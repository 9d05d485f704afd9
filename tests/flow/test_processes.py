"""Several server processes on one port: all answer, the first runs the jobs, all leave together."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli import main
from service.client import Client

if not Path("/proc/self/task").exists():
    pytest.skip("needs Linux's /proc to find the processes", allow_module_level=True)

LEAVES_S = 30.0  # 3 on an idle machine, as bench_start shows
SPEC = {
    "dataset": {"sample": "iris"},
    "network": {"layers": [{"kind": "dense", "units": 3, "activation": "softmax"}]},
    "training": {"epochs": 5, "batch_size": 16, "seed": 1},
}


def siblings(pid: int) -> list[int]:
    """The other server processes."""
    children = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [each for each in children if b"--sibling" in Path(f"/proc/{each}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def until(found: Callable[[], Any], most_s: float = 60.0) -> Any:
    """What `found` says, once it says something."""
    end_s = time.monotonic() + most_s
    while not (value := found()):
        assert time.monotonic() < end_s
        time.sleep(0.02)
    return value


def answers(url: str, count: int = 24) -> list[bool]:
    """Whether each of so many new connections is answered soon."""

    def ask(_: int) -> bool:
        try:
            return bool(httpx.get(f"{url}/v2/health/live", timeout=1.5).json() == {"live": True})
        except httpx.TimeoutException:
            return False

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    """Two processes; the tests take it in their order, the last one ends it."""
    return serve(None, "--processes", "2", "--workers", "1")


def test_all_processes_answer_and_a_job_runs_whoever_took_it(server: Any) -> None:
    (other,) = until(lambda: siblings(server.process.pid))
    for stopped in (server.process.pid, other):  # whoever is left answers the connections that came to it
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert any(answers(server.url)), "nobody but one process answers"
        finally:
            os.kill(stopped, signal.SIGCONT)
    assert all(answers(server.url))
    for _ in range(5):  # each client is a connection of its own, so both processes take jobs
        with Client(server.url) as client:
            job = client.submit({"type": "train", "spec": SPEC})
            kinds = [event["kind"] for event in client.follow(job["id"])]
            assert kinds[-1] == "finished" or "finished" in kinds
            told = client.predict(job["run_id"], [[5.1, 3.5, 1.4, 0.2]])
            assert len(told[0]["probabilities"]) == 3


def test_a_port_that_is_taken_is_not_shared_with_strangers(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = server.url.rpartition(":")[2]
    with pytest.raises(SystemExit) as left:
        main(["serve", "--processes", "2", "--port", port, "--data-dir", str(tmp_path / "data")])
    assert left.value.code == 2
    assert port in capsys.readouterr().err


def test_a_process_that_dies_is_started_anew_and_all_leave_in_time(server: Any) -> None:
    first = until(lambda: siblings(server.process.pid))
    os.kill(first[0], signal.SIGKILL)
    now = until(lambda: (found := siblings(server.process.pid)) != first and found)
    assert all(until(lambda: all(found := answers(server.url)) and found))
    begin = time.monotonic()
    assert server.stop() == 0
    assert "Fatal" not in server.log.read_text("utf-8"), "a process broke while it left"
    assert time.monotonic() - begin <= LEAVES_S
    assert not any(map(alive, now))


def test_nobody_stays_behind_when_the_first_is_killed(serve: Callable[..., Any]) -> None:
    server = serve(None, "--processes", "2", "--workers", "0")
    others = until(lambda: siblings(server.process.pid))
    server.process.kill()
    server.process.wait()
    until(lambda: not any(map(alive, others)))
