"""What every room's tests share: the roots, the data beside the checkout, and a real server process."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # 200 processes start here: a quarter of that is compiling
settings.register_profile("steady", derandomize=True, deadline=None)  # --hypothesis-profile default: other examples
settings.load_profile("steady")
START_S = 30.0  # a loaded machine; the figure for an idle one is a benchmark's


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets too large to commit; a test that needs them skips where they are absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("needs the data sets in ../shared/data, which are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@dataclass
class Served:
    """A server in its own process, as a user starts it."""

    url: str
    process: subprocess.Popen[str]
    data_dir: Path
    log: Path

    def stop(self, timeout_s: float = 30.0) -> int:
        """Sends SIGTERM and returns the exit code; the test fails when the server does not leave."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers that live as long as the module's tests.

    `serve()` on a new folder, `serve(folder)` on a known one; further words go to the command line, the last one wins.
    """
    with _servers(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that get along with what others left there: names of their own, and no counting."""
    with _servers(tmp_path_factory) as start:
        yield start(NETWRIGHT_CHECKPOINT_S="0.1")


@contextmanager
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    started: list[Served] = []

    def start(data_dir: Path | None = None, *words: str, **environ: str) -> Served:
        folder = data_dir or tmp_path_factory.mktemp("served") / "data"
        started.append(_started(folder, tmp_path_factory.mktemp("log") / "server.log", words, environ))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
    for each in started:
        try:
            each.process.wait(10)
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()
        if each.process.stdout is not None:
            each.process.stdout.close()


def _started(folder: Path, log: Path, words: tuple[str, ...], environ: dict[str, str]) -> Served:
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(folder)]
    command += ["--workers", "1", *words]
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environ, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    said = re.search(r"http://\S+", process.stdout.readline() if ready else "")
    if said is None:
        process.kill()
        process.wait()
        process.stdout.close()
        pytest.fail(f"the server did not start: {log.read_text('utf-8')[-2000:]}")
    return Served(said.group(), process, folder, log)
