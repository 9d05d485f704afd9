"""How the local executor judges the end of a process: told, crashed, killed, or starved of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.config import Settings
from service.jobs import LocalExecutor, process
from service.storage import Attempt, Owner

ATTEMPT = Attempt("run_1", 1, 1, 0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "workers").mkdir()
    return Settings(data_dir=tmp_path, workers=1)


@pytest.fixture
def executor(settings: Settings) -> Iterator[LocalExecutor]:
    made = LocalExecutor(settings)
    yield made
    made.close()


@pytest.fixture
def stranger() -> Iterator[Callable[[], Owner]]:
    """Starts processes that are workers of an earlier server as far as anyone can tell."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> Owner:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return process.owner_of(started[-1].pid)

    yield start
    for each in started:
        each.kill()
        each.wait()


def ready(executor: LocalExecutor) -> Owner:
    """The place of a warm worker."""
    while (owner := executor.place()) is None:
        executor.wait(0.05)
    return owner


def killed(owner: Owner) -> None:
    """Dead, though it waits for whoever started it to ask how it ended."""
    os.kill(owner.pid, signal.SIGKILL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)


def buried(owner: Owner) -> None:
    killed(owner)
    os.waitpid(owner.pid, 0)


def test_a_worker_that_dies_between_its_choice_and_its_work_is_gone_and_not_to_blame(executor: LocalExecutor) -> None:
    killed(ready(executor))
    executor.start(ATTEMPT)
    gone = executor.gone(ATTEMPT)
    assert gone is not None
    assert (gone.told, gone.code, gone.lives) == (False, "worker_lost", 10)
    executor.forget(ATTEMPT)
    assert process.alive(ready(executor)), "another has taken its place"


def test_an_adopted_attempt_lives_while_its_process_does(
    executor: LocalExecutor, stranger: Callable[[], Owner]
) -> None:
    owner = stranger()
    executor.adopt(ATTEMPT, owner)
    assert executor.gone(ATTEMPT) is None
    assert executor.place() is None, "it has the only place"
    executor.stop(ATTEMPT)
    while (gone := executor.gone(ATTEMPT)) is None:
        time.sleep(0.005)
    assert (gone.told, gone.lives) == (False, 10)


def test_an_adopted_worker_that_left_words_crashed_even_if_it_did_before_we_came(
    executor: LocalExecutor, settings: Settings, stranger: Callable[[], Owner]
) -> None:
    owner = stranger()
    words = process.words_file(settings.data_dir, owner.pid)
    words.write_text("Fatal Python error: Segmentation fault", encoding="utf-8")
    buried(owner)
    executor.adopt(ATTEMPT, owner)
    executor.wait(0)
    gone = executor.gone(ATTEMPT)
    assert gone is not None
    assert gone.lives == 3
    assert "Segmentation fault" in gone.words
    executor.forget(ATTEMPT)
    assert not words.exists(), "read, and not needed any more"


def test_an_adopted_worker_that_the_system_killed_lacked_memory(
    executor: LocalExecutor, stranger: Callable[[], Owner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_VMSTAT", tmp_path / "vmstat")
    owner = stranger()
    executor.adopt(ATTEMPT, owner)
    (tmp_path / "vmstat").write_text("oom_kill 1\n", encoding="ascii")
    killed(owner)
    gone = executor.gone(ATTEMPT)
    assert gone is not None
    assert (gone.code, gone.lives) == ("out_of_memory", 2)
