"""What the tests of this room share: machines on a folder of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_machine import Build, Machine, gone

from service.config import Settings


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with a warm worker for all tests of a module that harm nothing."""
    folder = tmp_path_factory.mktemp("machine") / "data"
    shared = Machine(Settings(data_dir=folder, workers=1, checkpoint_s=0.1, log_level="warning"))
    shared.start()
    yield shared
    shared.drain()
    shared.store.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Machines on one folder, each with its settings; all that is left is stopped at the end."""
    built: list[Machine] = []

    def make(*, start: bool = True, executor: str = "local", **given: Any) -> Machine:
        usual = {"data_dir": tmp_path / "data", "workers": 1, "checkpoint_s": 0.1, "log_level": "warning"}
        machine = Machine(Settings.model_validate(usual | given), executor)
        built.append(machine)
        if start:
            machine.start()
        return machine

    yield make
    for machine in built:
        for live in machine.store.runs.live():
            if not gone(live.owner.pid):
                os.kill(live.owner.pid, signal.SIGCONT)
        machine.drain()
        machine.store.close()
