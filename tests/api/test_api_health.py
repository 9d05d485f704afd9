"""Alive, ready, and what the machine is doing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from api_server import serving
from test_api_jobs import claim

from service import __version__

pytestmark = pytest.mark.anyio


async def test_the_machine_and_its_queue_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for _ in range(3):
            await api.submit()
        claim(api)
        found = (await api.http.get("/v1/system")).json()
        assert (found["version"], found["cores"], found["workers"]) == (__version__, os.cpu_count(), 2)
        assert (found["jobs_queued"], found["jobs_running"], found["models_loaded"]) == (2, 1, 0)


async def test_a_live_server_is_ready_with_its_workers(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for path in ("/health/live", "/health/ready"):
            answer = await api.http.get(path)
            assert (answer.status_code, answer.json()["status"], answer.json()["workers"]) == (200, "ok", 2)


async def test_the_pages_of_the_language_are_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert "text/html" in (await api.http.get("/docs")).headers["content-type"]
        assert (await api.http.get("/openapi.json")).json()["info"]["title"] == "netwright"


async def test_leftovers_of_uploads_that_a_killed_server_took_are_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "tmp" / "upload-x"
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"half a file")
    async with serving(tmp_path):
        assert not left.exists()
