"""A job that takes a moment, and looks into the store beside the server that trains it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service import storage
from service.client import Client
from service.storage import Live, Store

LAYERS = [{"kind": "flatten"}, {"kind": "dense", "units": 64, "activation": "relu"},
          {"kind": "dense", "units": 10, "activation": "softmax"}]  # fmt: skip
PATIENCE_S = 60.0
QUICK = {"NETWRIGHT_CHECKPOINT_S": "0.1", "NETWRIGHT_WORKERS": "1"}

Serve = Callable[..., Any]


def job(epochs: int = 220) -> dict[str, Any]:
    """A training that lasts a little longer than a server takes to start."""
    spec = {
        "dataset": {"sample": "digits", "validation": 0.1},
        "network": {"layers": LAYERS},
        "training": {"epochs": epochs, "batch_size": 16, "seed": 3},
    }
    return {"type": "train", "spec": spec}


def poll(so: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := so()):
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(0.01)
    return found


def look(data_dir: Path) -> Store:
    """The server's own store, read beside it."""
    return storage.open(f"sqlite:///{data_dir / 'netwright.db'}", data_dir)


def training(store: Store) -> Live:
    """The attempt at work, once it has published a state."""

    def found() -> Live | None:
        live = next(iter(store.runs.live()), None)
        return live if live and store.runs.checkpoints(live.attempt.run_id, "state") else None

    live: Live = poll(found)
    return live


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return True


Outcome = tuple[str, dict[str, Any], int]


def outcome(client: Client, job_id: str) -> Outcome:
    """(hash of the weights, every point, process lives) of a job that succeeds."""
    ended = client.wait(job_id, timeout_s=PATIENCE_S)
    assert ended["status"] == "succeeded", ended["error"]
    series = client.series(ended["run_id"], max_points=1_000_000)
    points = {name: (s["steps"], s["values"]) for name, s in series.items() if name != "rows_per_s"}
    return client.run(ended["run_id"])["weights_sha256"], points, ended["attempt"]
