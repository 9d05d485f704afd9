"""Letter networks on real texts, through HTTP: nats per character and what they write; `make bench-letters`.

LETTERS_EPOCHS (3) and LETTERS_KINDS (lstm,gru,simple_rnn) say how long and which.
Needs the texts of ../shared/data; says so when they are missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.client import Client

pytestmark = pytest.mark.benchmark

DATA = Path(__file__).parents[3] / "shared" / "data"
EPOCHS = int(os.environ.get("LETTERS_EPOCHS", "3"))
KINDS = os.environ.get("LETTERS_KINDS", "lstm,gru,simple_rnn").split(",")
RATES = {"lstm": 0.004, "gru": 0.004, "simple_rnn": 0.001}
LIMITS = {"lstm": 2.0, "gru": 2.0, "simple_rnn": 2.3}  # nats per character, after few epochs already


@pytest.fixture(scope="module")
def client(serve: Callable[..., Any]) -> Any:
    if not DATA.exists():
        pytest.skip("needs the texts of ../shared/data")
    with Client(serve(None, "--workers", "1").url) as client:
        yield client


def learned(client: Client, name: str, kind: str, units: int, epochs: int, validation: float) -> dict[str, Any]:
    """Two layers with dropout between and behind, Adam on a cosine; prints what it came to."""
    text = (DATA / name).read_text("utf-8")
    size = len(set(text[: int(len(text) * (1 - validation))])) + 1
    layers = [
        {"kind": kind, "units": units},
        {"kind": "dropout", "rate": 0.125},
        {"kind": kind, "units": units},
        {"kind": "dropout", "rate": 0.125},
        {"kind": "dense", "units": size},
    ]
    spec = {
        "dataset": {"id": client.upload(DATA / name)["id"], "validation": validation},
        "network": {"layers": layers},
        "optimizer": {
            "kind": "adam", "learning_rate": RATES[kind], "clip_norm": 5.0, "schedule": {"kind": "cosine"}
        },
        "training": {"epochs": epochs, "batch_size": 32, "seed": 1},
    }  # fmt: skip
    begun = time.perf_counter()
    job = client.submit({"type": "train", "spec": spec})
    done = client.wait(job["id"], timeout_s=3600)
    assert done["status"] == "succeeded", done["error"]
    spent = time.perf_counter() - begun
    losses = client.series(done["run_id"])["val_loss"]["values"]
    print(f"\n{name}: {kind} 2 x {units}, {epochs} epochs, {spent:.0f} s, {spent / epochs:.1f} s an epoch")
    print("  nats per character on the rest, by epoch: " + " ".join(f"{loss:.3f}" for loss in losses))
    print("  gradient of the last answer in the state, steps before it: " + faded(client, done["run_id"]))
    client.publish(f"{Path(name).stem}-{kind}", done["run_id"])
    return {"loss": min(losses), "model": f"{Path(name).stem}-{kind}"}


def faded(client: Client, run_id: str) -> str:
    """By recurrent layer: what of its norm at the last step is left so many steps before, in a window's length."""
    layers = client.ask("GET", f"/v1/runs/{run_id}/diagnostics")["layers"]
    lines = []
    for layer in layers:
        norms = layer["gradient_by_time"]
        if norms:
            last = next(norm for norm in reversed(norms) if norm)
            steps = [step for step in (1, 5, 10, 20, 40, 60) if step < len(norms)]
            lines.append(f"layer {layer['index']}: " + " ".join(f"{k}:{norms[-1 - k] / last:.0e}" for k in steps))
    return "; ".join(lines)


def write(client: Client, model: str, prompt: str, **options: Any) -> None:
    begun = time.perf_counter()
    texts = client.complete(model, prompt, **{"seed": 3, "temperature": 0.8} | options)
    spent = (time.perf_counter() - begun) / sum(map(len, texts)) * 1e6
    print(f"  {model}, {spent:.0f} us a character: " + " | ".join(prompt + text for text in texts))


@pytest.mark.parametrize("kind", KINDS)
def test_shakespeare(client: Client, kind: str) -> None:
    found = learned(client, "tinyshakespeare.txt", kind, 128, EPOCHS, 0.1)
    write(client, found["model"], "ROMEO:", max_tokens=300)
    assert found["loss"] < LIMITS[kind]


def test_names(client: Client) -> None:
    found = learned(client, "names.txt", "gru", 96, 2 * EPOCHS, 0.1)
    write(client, found["model"], "", n=12, max_tokens=20, stop="\n")
    write(client, found["model"], "mar", n=4, max_tokens=20, stop="\n")
    assert found["loss"] < 2.3


def test_plato(client: Client) -> None:
    found = learned(client, "plato_republic.txt", "lstm", 128, EPOCHS, 0.1)
    write(client, found["model"], "Socrates", max_tokens=300)
    assert found["loss"] < 2.0
