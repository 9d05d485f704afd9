"""A run that loses its worker comes out the same, whatever is in its spec."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from chaos_jobs import DENSE, IMAGES
from flow_runs import QUICK, Serve, look, outcome, training

from service.client import Client


@pytest.fixture(scope="module")
def server(serve: Serve) -> Any:
    return serve(None, **QUICK | {"NETWRIGHT_CHECKPOINT_S": "0.05"})


@pytest.mark.parametrize("document", [DENSE, IMAGES], ids=["dense", "images"])
def test_a_killed_worker_changes_no_bit(document: dict[str, Any], server: Any) -> None:
    """Batch normalisation, dropout, Adam, cosine, early stopping; shifts, momentum, plateau, shards: in mid-epoch."""
    store = look(server.data_dir)
    with Client(server.url) as client:
        undisturbed = outcome(client, client.submit(document)["id"])
        job = client.submit(document)
        os.kill(training(store).owner.pid, signal.SIGKILL)
        assert outcome(client, job["id"]) == (*undisturbed[:2], 2)
    (resumed,) = [each for each in store.events.after(0, job_id=job["id"]) if each.kind == "resumed"]
    assert resumed.data["step"] > 0
    store.close()
