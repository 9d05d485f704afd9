"""A letter network whose worker is killed goes on bit for bit, what its layers carried included."""

from __future__ import annotations

import os
import signal
from typing import Any

from jobs_machine import Build, Machine

from service.data import Dataset, DatasetSpec, outline_letters
from service.specs import materialize

PART = {"sample": "python_reference", "window": 25, "validation": 0.1}


def letters(machine: Machine, kind: str = "lstm", **training: Any) -> dict[str, Any]:
    """Two stateful layers, dropout between them, over some thousand characters of the reference."""
    said = DatasetSpec.model_validate(PART)
    row = materialize(said, machine.store)
    found = outline_letters(Dataset.open(machine.store.blobs.path(row.blob)), said)
    layers = [
        {"kind": kind, "units": 24},
        {"kind": "dropout", "rate": 0.2},
        {"kind": kind, "units": 24, "recurrent_dropout": 0.1},
        {"kind": "dense", "units": found.outputs},
    ]
    given = {"epochs": 2, "batch_size": 16, "seed": 5} | training
    return {"type": "train", "spec": {"dataset": PART, "network": {"layers": layers}, "training": given}}


def test_a_killed_letter_network_goes_on_bit_for_bit(build: Build) -> None:
    machine = build()
    document = letters(machine, max_steps=400)
    whole = machine.until(machine.submit(document), "succeeded")
    job = machine.submit(document)
    machine.saved(job)
    os.kill(machine.live(job).owner.pid, signal.SIGKILL)
    job = machine.until(job, "succeeded")
    assert job.attempt == 2
    assert machine.events(job, "resumed")[0].data["step"] > 0
    assert machine.run(job).weights_sha256 == machine.run(whole).weights_sha256
    assert machine.points(job) == machine.points(whole)
    assert machine.run(job).report["scores"] == machine.run(whole).report["scores"]
    found = machine.run(job).report["diagnostics"]
    assert found == machine.run(whole).report["diagnostics"]
    assert [len(each["gradient_by_time"] or ()) for each in found["layers"]] == [25, 0, 25, 0]
