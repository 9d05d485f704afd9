"""Jobs made from a run: go on from one of its checkpoints with some words changed, or repeat it and compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.errors import Fault, InvalidSpec, NotFound
from service.specs.job import GoOnFrom, TrainSpec
from service.storage import Checkpoint, Run, Store

# What the state in a checkpoint was made with; all else may be another: epochs, learning rate, schedule, stopping, ...
_SAME = (
    ("dataset",), ("network", "layers"), ("loss",), ("dtype",), ("optimizer", "kind"), ("training", "batch_size"),
    ("training", "seed"), ("training", "shuffle"), ("training", "stateful"), ("training", "shards"),
)  # fmt: skip


def fork(run: Run, patch: Mapping[str, Any], step: int | None = None) -> dict[str, Any]:
    """A job document: the run's spec, changed by a JSON merge patch (RFC 7396), from a checkpoint of the run on.

    Raises InvalidSpec when the run has none to offer.
    """
    if run.type != "train":
        raise InvalidSpec(f"a run of type {run.type} has no checkpoints to go on from")
    spec = merged(run.spec, patch) | {"go_on_from": {"run": run.id, "step": step}, "verify": None}
    return {"type": run.type, "name": run.name, "tags": list(run.tags), "spec": spec}


def verify(run: Run, step: int | None = None) -> dict[str, Any]:
    """A job document that repeats the run, whole or from a checkpoint on, and compares the weights at its end.

    Raises InvalidSpec before it ended, and for a step of a run that has no checkpoints.
    """
    if step is not None and run.type != "train":
        raise InvalidSpec(f"a run of type {run.type} has no checkpoints to go on from")
    if run.status != "succeeded" or run.type not in ("train", "ngram"):
        raise InvalidSpec(f"there is nothing to compare with: the run is {run.status}")
    spec: dict[str, Any] = {**run.spec, "verify": run.id}
    if step is not None:
        spec["go_on_from"] = {"run": run.id, "step": step}
    return {"type": run.type, "name": run.name, "tags": list(run.tags), "spec": spec}


def merged(document: Any, patch: Any) -> Any:
    """RFC 7396: null takes a member away, objects are merged, everything else is replaced."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def started(spec: TrainSpec, store: Store) -> GoOnFrom | None:
    """The very file to go on from, of a resolved spec. Raises InvalidSpec when it does not fit."""
    point = spec.go_on_from
    if point is None:
        return None
    checkpoint = _checkpoint(point, store)
    faults = list(_misfits(spec.model_dump(mode="json"), store.runs.get(point.run).spec))
    if faults:
        hint = "network.initial_weights begins anew with its weights only."
        raise InvalidSpec("the checkpoint does not fit what is changed", hint=hint, faults=faults)
    return GoOnFrom(run=point.run, step=checkpoint.step, blob=checkpoint.blob)


def spent(spec: TrainSpec, rows: int) -> list[str]:
    """Warns of a checkpoint behind which nothing is left to train."""
    point, steps = spec.go_on_from, spec.training.steps(rows)
    if spec.verify is not None or point is None or point.step is None or point.step < steps:
        return []
    return [
        f"the checkpoint stands at step {point.step:,}, and {spec.training.epochs:,} epochs end at step {steps:,}:"
        " nothing more is trained; raise training.epochs"
    ]


def check_repeated(run_id: str | None, store: Store) -> None:
    """Raises InvalidSpec when there is no such run."""
    if run_id is not None:
        try:
            store.runs.get(run_id)
        except NotFound as error:
            raise _refusal("/spec/verify", error.message) from error


def _checkpoint(point: GoOnFrom, store: Store) -> Checkpoint:
    try:
        store.runs.get(point.run)
    except NotFound as error:
        raise _refusal("/go_on_from/run", error.message) from error
    published = store.runs.checkpoints(point.run, "state")
    found = [each for each in published if point.step in (None, each.step)]
    if found:
        return found[0]
    steps = ", ".join(str(each.step) for each in published) or "none"
    raise _refusal("/go_on_from/step", f"no checkpoint there; published are the steps: {steps}")


def _refusal(pointer: str, message: str) -> InvalidSpec:
    return InvalidSpec(message, faults=[Fault(pointer, "not_found", message)])


def _misfits(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Fault]:
    for place in _SAME:
        ours: Any = new
        theirs: Any = old
        for name in place:
            ours, theirs = ours[name], theirs[name]
        if ours != theirs:
            message = f"{'.'.join(place)} must stay as it was in the run that is gone on from"
            yield Fault("/" + "/".join(place), "changed", message)
