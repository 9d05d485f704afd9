"""What the tests of this room share: machines on a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs_machine import Build, Machine, machines


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with a warm worker for all tests of a module that harm nothing."""
    with machines(tmp_path_factory.mktemp("machine") / "data") as build:
        yield build()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Machines on a folder of the test's own."""
    with machines(tmp_path / "data") as build:
        yield build
