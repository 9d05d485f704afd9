"""n-gram jobs: counted, scored on the parts held back, cancelled, and begun again after a crash."""

from __future__ import annotations

import os
import signal
from typing import Any

from jobs_machine import Build, Machine

from service import ngram, storage, tensors
from service.data import Upload, read
from service.storage import Job


def reference(**changes: Any) -> dict[str, Any]:
    dataset = {"sample": "python_reference", "validation": 0.1, "test": 0.1}
    return {"type": "ngram", "spec": {"dataset": dataset, "order": 3} | changes}


def test_a_text_becomes_a_model_with_its_perplexities(machine: Machine) -> None:
    job = machine.until(machine.submit(reference()), "succeeded")
    run = machine.run(job)
    model = ngram.Model(tensors.read(machine.store.blobs.path(run.model_blob or "")))
    assert model.spec.order == 3
    assert run.report["tokens"] > 10_000
    assert len(run.report["ngrams"]) == 3
    assert 10 < run.summary["val_perplexity_excluding_oov"]["last"]["value"] < 1000
    assert (
        run.summary["test_perplexity"]["last"]["value"] > run.summary["test_perplexity_excluding_oov"]["last"]["value"]
    )


def test_the_same_text_gives_the_same_digest_under_any_name(machine: Machine) -> None:
    first, second = (machine.until(machine.submit(reference() | {"name": name}), "succeeded") for name in "ab")
    assert machine.run(first).weights_sha256 == machine.run(second).weights_sha256
    assert machine.run(first).receipt == machine.run(second).receipt


def long_text(machine: Machine) -> Job:
    """A job over some megabytes of the words 0 to 99,999, each line in another order."""
    lines = [" ".join(str((i * k) % 99_991) for i in range(40)) for k in range(1, 30_000)]
    with machine.store.blobs.scratch() as source, machine.store.blobs.scratch() as parsed:
        source.write_text("\n".join(lines), encoding="utf-8")
        found = read([Upload("words.txt", source)], parsed, format="text")
        blob = machine.store.blobs.adopt(parsed).sha256
    row = machine.store.datasets.add(
        name="words", kind="text", rows=found.description.rows, sha256=found.sha256, blob=blob, bytes=found.bytes,
        description=found.description.model_dump(),
    )  # fmt: skip
    return machine.submit({"type": "ngram", "spec": {"dataset": {"id": row.id}, "order": 4}})


def reading(machine: Machine, job: Job) -> storage.Live:
    def found() -> storage.Live | None:
        told = machine.store.jobs.get(job.id).progress > 0
        return next(iter(machine.store.runs.live()), None) if told else None

    live: storage.Live = machine.poll(found)
    return live


def test_a_cancelled_count_ends_at_once_without_a_model(machine: Machine) -> None:
    job = long_text(machine)
    reading(machine, job)
    machine.stop(job, "cancel")
    job = machine.until(job, "cancelled")
    assert machine.run(job).model_blob is None


def test_a_count_whose_worker_died_begins_again(build: Build) -> None:
    machine = build()
    job = long_text(machine)
    os.kill(reading(machine, job).owner.pid, signal.SIGKILL)
    assert machine.until(job, "succeeded").attempt == 2


def test_a_text_too_large_for_its_memory_fails_with_a_sentence(machine: Machine) -> None:
    job = machine.until(machine.submit(reference(max_memory_bytes=1_000_000)), "failed")
    assert job.error is not None
    assert job.error["code"] in ("too_large", "out_of_memory")
    assert "memory" in job.error["message"]
