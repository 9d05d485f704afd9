"""What the supervisor does besides: tidying up."""

from __future__ import annotations

import pytest
from jobs_machine import Build, digits

from service import clock
from service.jobs import supervisor


def test_files_that_nothing_points_at_go_while_the_server_runs(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "TIDY_S", 0.0)
    machine = build()
    job = machine.until(machine.submit(digits(1)), "succeeded")
    model = machine.run(job).model_blob or ""
    orphan = machine.store.blobs.put_bytes(b"nobody's").sha256
    real = clock.monotonic_s
    monkeypatch.setattr(clock, "monotonic_s", lambda: 1000 * real())  # a minute's grace goes by in no time
    machine.poll(lambda: not machine.store.blobs.path(orphan).exists())
    assert machine.store.blobs.verify(model)
