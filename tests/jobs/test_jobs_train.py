"""What one attempt at a training does: its verdicts, its report, and where it goes on after a crash."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from jobs_machine import LONG, Build, Machine, digits

from service import tensors
from service.data import Dataset, Preprocessor
from service.jobs import lesson, process
from service.jobs.execute import execute
from service.specs import artifact

WIDE = [{"kind": "flatten"}, {"kind": "dense", "units": 3000, "activation": "relu"}, {"kind": "dense", "units": 10}]


def test_the_model_of_a_run_answers_raw_rows_as_its_report_says(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(20)), "succeeded")
    run = machine.run(job)
    blobs = machine.store.blobs
    model = artifact.unpack(tensors.read(blobs.path(run.model_blob or "")))
    dataset = Dataset.open(blobs.path(machine.store.datasets.get(run.dataset_id or "").blob))
    counts = np.array(run.report["confusion"]["counts"])
    assert run.report["confusion"]["part"] == "test"
    assert counts.sum() == round(0.1 * dataset.rows)
    assert counts.trace() / counts.sum() == pytest.approx(run.report["scores"]["test_accuracy"])
    worst = run.report["worst_rows"]["rows"]
    assert [row["loss"] for row in worst] == sorted((row["loss"] for row in worst), reverse=True)
    raw = dataset.take([row["row"] for row in worst])
    assert isinstance(model.preprocessor, Preprocessor)
    y = model.bind()(model.preprocessor.rows([{"image": row["image"]} for row in raw]))
    for row, shown, probabilities in zip(worst, raw, y, strict=True):
        assert str(shown["label"]) == row["truth"]
        assert model.preprocessor.answers(probabilities[None])[0]["label"] == row["answer"]
        assert probabilities.max() == pytest.approx(row["probability"], rel=1e-4)


def test_scores_of_the_test_part_are_told_once_at_the_last_step(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(4)), "succeeded")
    summary = machine.run(job).summary
    assert summary["test_accuracy"]["n"] == 1
    assert summary["test_accuracy"]["last"]["step"] == machine.run(job).step
    assert summary["val_loss"]["n"] == 4


def test_the_receipt_says_what_a_run_was_made_of(machine: Machine) -> None:
    first, second = (machine.until(machine.submit(digits(2)), "succeeded") for _ in range(2))
    receipt = machine.run(first).receipt
    assert receipt is not None
    assert receipt == machine.run(second).receipt
    assert machine.run(first).weights_sha256 == machine.run(second).weights_sha256
    assert (receipt["blas_threads"], receipt["numpy"], receipt["shards"]) == (1, np.__version__, 1)
    assert len(receipt["dataset_sha256"]) == 64


def test_a_training_that_diverges_says_where_and_is_not_tried_again(machine: Machine) -> None:
    layers = [{"kind": "flatten"}, {"kind": "dense", "units": 8}, {"kind": "dense", "units": 1}]
    learn = {"kind": "sgd", "learning_rate": 1e6}
    spec = digits(50, optimizer=learn, loss={"kind": "squared_error"}, network={"layers": layers})
    job = machine.until(machine.submit(spec), "failed")
    assert job.error is not None
    assert (job.error["code"], job.attempt) == ("diverged", 1)
    assert job.error["step"] >= 1
    assert job.error["layer"].startswith("/network/layers/")
    assert "learning rate" in job.error["hint"]


def test_what_nobody_foresaw_is_tried_by_other_processes_and_then_told(build: Build) -> None:
    machine = build(start=False)
    job = machine.submit(digits(1))
    machine.store.blobs.path(machine.store.datasets.get(machine.run(job).dataset_id or "").blob).unlink()
    machine.start()
    job = machine.until(job, "failed")
    assert job.error is not None
    assert (job.error["code"], job.attempt) == ("internal", 3)
    assert job.error["hint"] == "unexpected FileNotFoundError; the log has the trace"
    lost = machine.events(job, "lost")
    assert len(lost) == 3
    assert "Traceback" in lost[0].data["words"]


def test_a_run_beyond_its_memory_fails_as_such_and_its_worker_lives(machine: Machine) -> None:
    machine.until(machine.submit(digits(1)), "succeeded")
    job = machine.submit(
        digits(50, network={"layers": WIDE}, max_memory_bytes=1_000_000, training={"batch_size": 1500})
    )
    job = machine.until(job, "failed")
    assert job.error is not None
    assert (job.error["code"], job.attempt) == ("out_of_memory", 1)
    assert "1 MiB" in job.error["message"]
    assert machine.until(machine.submit(digits(1)), "succeeded").attempt == 1


def test_a_run_out_of_time_succeeds_with_what_it_has(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(1_000_000, training={"max_seconds": 0.5})), "succeeded")
    assert job.stopped_by == "time"
    assert machine.run(job).model_blob


@pytest.mark.parametrize("harm", ["flipped", "torn"])
def test_a_harmed_checkpoint_is_refused_and_the_one_before_it_taken(build: Build, harm: str) -> None:
    machine = build()
    whole = machine.until(machine.submit(digits(LONG)), "succeeded")
    job = machine.submit(digits(LONG))
    machine.saved(job, machine.saved(job))
    os.kill(machine.live(job).owner.pid, signal.SIGSTOP)
    newest, before = machine.store.runs.checkpoints(job.run_ids[0], "state")[:2]
    path = machine.store.blobs.path(newest.blob)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if harm == "flipped" else data[: len(data) // 2])
    os.kill(machine.live(job).owner.pid, signal.SIGKILL)
    job = machine.until(job, "succeeded")
    refused, resumed = machine.events(job, "checkpoint_refused"), machine.events(job, "resumed")
    assert [each.data["step"] for each in refused] == [newest.step]
    assert [each.data["step"] for each in resumed] == [before.step]
    assert machine.run(job).weights_sha256 == machine.run(whole).weights_sha256
    assert machine.points(job) == machine.points(whole)


def test_states_that_are_always_due_keep_no_model_from_being_published(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that needs longer for a state than lies between two of them."""
    monkeypatch.setattr(lesson, "processor_s", float)
    machine = build(start=False, checkpoint_s=1e-9)
    job = machine.submit(digits(300))
    attempt = machine.store.runs.claim(process.owner_of(os.getpid()), 60)
    assert attempt is not None
    execute(machine.store, attempt, machine.settings, lambda: False)
    assert machine.store.jobs.get(job.id).status == "succeeded"
    assert len(machine.events(job, "improved")) > 1


def test_an_attempt_that_goes_on_says_that_it_trains(build: Build) -> None:
    machine = build(start=False)
    job = machine.submit(digits(LONG))
    for _ in range(2):
        attempt, phases = machine.store.runs.claim(process.owner_of(os.getpid()), 60), set[str]()
        assert attempt is not None

        def trains(phases: set[str] = phases) -> bool:
            phases.add(machine.store.jobs.get(job.id).phase)
            return "training" in phases

        execute(machine.store, attempt, machine.settings, trains)
        assert "training" in phases
        assert machine.store.jobs.get(job.id).status == "queued", "given back for the next attempt"
    assert machine.events(job, "resumed")


def test_old_checkpoints_are_forgotten(machine: Machine) -> None:
    job = machine.submit(digits(100_000))
    steps = set[int]()
    while len(steps) < 6:
        steps.add(machine.saved(job, max(steps, default=0)))
    assert len(machine.store.runs.checkpoints(job.run_ids[0], "state")) <= 4
    assert len(machine.store.runs.checkpoints(job.run_ids[0], "model")) <= 2
    machine.stop(job, "cancel")
    machine.until(job, "cancelled")


def test_progress_rises_and_the_end_is_told_beforehand(machine: Machine) -> None:
    job = machine.submit(digits(10_000))
    seen: dict[float, float | None] = {}

    def enough() -> bool:
        now = machine.store.jobs.get(job.id)
        if now.phase == "training":
            seen[now.progress] = now.eta_s
        return len(seen) >= 5

    machine.poll(enough)
    machine.stop(job, "cancel")
    machine.until(job, "cancelled")
    assert list(seen) == sorted(seen)
    told = list(seen.values())[2:]  # nothing can be said at the first look, nor at the first step
    assert all(eta_s is not None and 0 < eta_s < 3600 for eta_s in told)


def test_initial_weights_of_another_run_are_begun_with(machine: Machine) -> None:
    first = machine.until(machine.submit(digits(10)), "succeeded")
    layers = digits()["spec"]["network"]["layers"]
    network = {"layers": layers, "initial_weights": first.run_ids[0]}
    second = machine.until(machine.submit(digits(1, network=network)), "succeeded")
    began = machine.run(second).summary["train_loss"]["first"]["value"]
    assert began < machine.run(first).summary["train_loss"]["first"]["value"] / 2
