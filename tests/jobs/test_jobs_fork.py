"""Jobs made from runs: trained longer, otherwise, or again."""

from __future__ import annotations

from typing import Any

import pytest
from jobs_machine import LONG, Machine, digits

from service import specs
from service.errors import InvalidSpec
from service.storage import Job


def forked(machine: Machine, job: Job, patch: dict[str, Any], step: int | None = None) -> Job:
    return machine.until(machine.submit(specs.fork(machine.run(job), patch, step)), "succeeded")


def test_a_run_trained_longer_is_the_run_that_was_long_from_the_start(machine: Machine) -> None:
    short = machine.until(machine.submit(digits(10, training={"log_every": 1})), "succeeded")
    long = machine.until(machine.submit(digits(25, training={"log_every": 1})), "succeeded")
    fork = forked(machine, short, {"training": {"epochs": 25}})
    assert machine.run(fork).weights_sha256 == machine.run(long).weights_sha256
    mine, whole = machine.points(fork)["batch_loss"], machine.points(long)["batch_loss"]
    last = machine.run(short).step
    assert mine == (whole[0][last:], whole[1][last:]), "its curve goes on where the other ended"
    assert machine.events(fork, "forked")[0].data == {"run": short.run_ids[0], "step": last}


def test_a_fork_from_a_step_takes_that_state(machine: Machine) -> None:
    job = machine.submit(digits(LONG))
    step = machine.saved(job)
    machine.stop(job, "pause")
    machine.until(job, "paused")
    steps = [each.step for each in machine.store.runs.checkpoints(job.run_ids[0], "state")]
    assert step in steps
    fork = forked(machine, job, {"training": {"epochs": LONG + 1}}, steps[-1])
    assert machine.events(fork, "forked")[0].data["step"] == steps[-1]


def test_a_fork_with_another_learning_rate_goes_another_way(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(3)), "succeeded")
    same = forked(machine, job, {"training": {"epochs": 5}})
    other = forked(machine, job, {"training": {"epochs": 5}, "optimizer": {"learning_rate": 0.05}})
    assert machine.run(other).weights_sha256 != machine.run(same).weights_sha256
    assert machine.run(other).summary["learning_rate"]["last"]["value"] == 0.05


def test_an_early_stopped_run_goes_on_from_its_last_step(machine: Machine) -> None:
    stop = {"monitor": "val_loss", "patience": 0, "restore_best": True}
    job = machine.until(machine.submit(digits(500, training={"early_stopping": stop})), "succeeded")
    assert job.stopped_by == "early_stopping"
    last = machine.run(job).step
    assert machine.store.runs.checkpoints(job.run_ids[0], "state")[0].step == last
    fork = forked(machine, job, {"training": {"early_stopping": None, "max_steps": last + 50}})
    assert machine.run(fork).step == last + 50


@pytest.mark.parametrize(
    ("patch", "step", "pointer"),
    [
        ({"training": {"batch_size": 32}}, None, "/spec/training/batch_size"),
        ({"optimizer": {"kind": "sgd", "beta1": None, "beta2": None, "epsilon": None}}, None, "/spec/optimizer/kind"),
        ({"dataset": {"validation": 0.2}}, None, "/spec/dataset"),
        ({}, 7, "/spec/go_on_from/step"),
    ],
)
def test_what_the_state_was_made_with_cannot_be_changed(
    machine: Machine, patch: dict[str, Any], step: int | None, pointer: str
) -> None:
    job = machine.until(machine.submit(digits(1)), "succeeded")
    with pytest.raises(InvalidSpec) as caught:
        machine.submit(specs.fork(machine.run(job), patch, step))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_run_of_an_unknown_name_cannot_be_gone_on_from(machine: Machine) -> None:
    with pytest.raises(InvalidSpec) as caught:
        machine.submit(digits(1, go_on_from={"run": "run_nobody"}))
    assert [fault.pointer for fault in caught.value.faults] == ["/spec/go_on_from/run"]
    with pytest.raises(InvalidSpec) as caught:
        machine.submit(digits(1, verify="run_nobody"))
    assert [fault.pointer for fault in caught.value.faults] == ["/spec/verify"]


def test_a_run_verified_is_trained_again_and_found_equal(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(3)), "succeeded")
    again = machine.until(machine.submit(specs.verify(machine.run(job))), "succeeded")
    run = machine.run(again)
    assert run.report["verify"] == {
        "run": job.run_ids[0], "equal": True, "expected": machine.run(job).weights_sha256,
        "found": run.weights_sha256, "receipt_differs": {},
    }  # fmt: skip


def test_a_run_is_verified_from_any_of_its_checkpoints(machine: Machine) -> None:
    """Also from its last one, where it had stopped early: from there nothing more is to come."""
    stop = {"monitor": "val_loss", "patience": 15, "restore_best": True}
    job = machine.until(machine.submit(digits(500, training={"early_stopping": stop})), "succeeded")
    assert job.stopped_by == "early_stopping"
    states = machine.store.runs.checkpoints(job.run_ids[0], "state")
    assert len(states) > 1
    for state in (states[0], states[-1]):
        again = machine.until(machine.submit(specs.verify(machine.run(job), state.step)), "succeeded")
        assert machine.events(again, "forked")[0].data["step"] == state.step
        assert machine.run(again).report["verify"]["equal"] is True


def test_a_verification_that_comes_out_otherwise_says_so(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(3)), "succeeded")
    document = specs.verify(machine.run(job))
    document["spec"] = specs.fork(machine.run(job), {"training": {"seed": 99}})["spec"] | {
        "verify": job.run_ids[0],
        "go_on_from": None,
    }
    again = machine.until(machine.submit(document), "succeeded")
    assert machine.run(again).report["verify"]["equal"] is False


def test_a_text_model_is_verified_too_but_has_nothing_to_fork(machine: Machine) -> None:
    text = {"type": "ngram", "spec": {"dataset": {"sample": "python_reference"}, "order": 2}}
    job = machine.until(machine.submit(text), "succeeded")
    again = machine.until(machine.submit(specs.verify(machine.run(job))), "succeeded")
    assert machine.run(again).report["verify"]["equal"] is True
    with pytest.raises(InvalidSpec):
        specs.fork(machine.run(job), {})


def test_a_merge_patch_is_rfc_7396s() -> None:
    # examples of its appendix A
    for target, patch, result in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert specs.merged(target, patch) == result


def test_a_fork_that_has_nothing_left_to_train_is_told(machine: Machine) -> None:
    job = machine.until(machine.submit(digits(3)), "succeeded")
    for patch, told in (({}, 1), ({"training": {"epochs": 2}}, 1), ({"training": {"epochs": 4}}, 0)):
        admitted = specs.admit(specs.parse(specs.fork(machine.run(job), patch)), machine.store, 2_000_000_000)
        assert sum("nothing more is trained" in warning for warning in admitted.plan.warnings) == told
