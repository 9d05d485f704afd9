"""A fresh store for every test, and short ways to what most tests need in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, make_url

from service import clock, storage
from service.storage import Attempt, Checkpoint, Job, Owner, Store

LEASE_S = 10.0
_SERVER = os.environ.get("NETWRIGHT_TEST_POSTGRESQL")  # a URL: `make postgresql`
_MADE = list[str]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _SERVER is not None and item.get_closest_marker("sqlite"):
        pytest.skip("looks into the file of a SQLite store")


def pytest_sessionfinish() -> None:
    """Nobody's server keeps what the tests made on it."""
    for name in _MADE:
        _administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _administer(*statements: str) -> None:
    assert _SERVER is not None
    engine = create_engine(_SERVER, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for each in statements:
            connection.exec_driver_sql(each)
    engine.dispose()


@cache
def store_url(folder: Path) -> str:
    """Of the folder's database: a file in it, or one of its own on the server that NETWRIGHT_TEST_POSTGRESQL names."""
    if _SERVER is None:
        return f"sqlite:///{folder / 'store.db'}"
    name = f"netwright_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    _administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    _MADE.append(name)
    return make_url(_SERVER).set(database=name).render_as_string(hide_password=False)


def open_store(folder: Path) -> Store:
    """The store of a folder, as every process opens it."""
    return storage.open(store_url(folder), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = open_store(folder)
    yield opened
    opened.close()


@pytest.fixture
def another(folder: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again, as another process would."""
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(folder))
        return opened[-1]

    yield open_another
    for each in opened:
        each.close()


@pytest.fixture
def owner() -> Owner:
    return Owner(pid=4711, started="123", boot_id=clock.boot_id())


@pytest.fixture
def submit(store: Store) -> Callable[..., Job]:
    """Submits a job that asks for nothing special but what is given."""

    def submitted(**given: Any) -> Job:
        return store.jobs.submit(**({"type": "train", "spec": {"seed": 1}} | given))

    return submitted


@pytest.fixture
def claim(store: Store, owner: Owner) -> Callable[[], Attempt]:
    """Claims the next run; there must be one."""

    def claimed() -> Attempt:
        attempt = store.runs.claim(owner, LEASE_S)
        assert attempt is not None
        return attempt

    return claimed


@pytest.fixture
def publish(store: Store) -> Callable[..., Checkpoint]:
    """Puts weights into the blob store and makes the checkpoint that a report can carry."""

    def published(run_id: str, step: int, kind: str = "model") -> Checkpoint:
        blob = store.blobs.put({"w": np.full(3, step, np.float32)}, {"run": run_id, "kind": kind})
        assert kind in ("state", "model")
        return Checkpoint(run_id, step, kind, blob.sha256, blob.bytes, f"weights-{step}", 0, clock.now())  # type: ignore[arg-type]

    return published
