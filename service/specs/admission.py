"""The door of the queue: every check of a job against its data, every default filled in, before anything is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from service import engine, ngram
from service.data import DatasetSpec, Description, Outline, Reference, outline
from service.engine import Loss, Recipe
from service.errors import Fault, InvalidSpec, TooLarge
from service.ngram import NgramSpec
from service.specs.dataset import materialize
from service.specs.examples import signature_of
from service.specs.fault import faults
from service.specs.job import JOB, Job, NgramJob, NgramJobSpec, TrainSpec
from service.specs.target import loss_for
from service.storage import DatasetRow, Store

_SLACK_BYTES = 512 << 20  # beyond the plan, before a run is told that it took too much
_FLOPS_PER_S = 2e10  # of one core, products of middling size
_STEP_S = 5e-5  # what a step costs beside its products
_UPDATES_PER_S = 4e8  # parameters that an optimizer moves
_NGRAM_BYTES_PER_S = 4e6


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A dry run. `layers`: index, kind, shape_in, shape_out, parameters of each. `bytes`: the run's peak."""

    layers: tuple[dict[str, Any], ...]
    parameters: int
    bytes: int
    estimated_seconds: float
    warnings: tuple[str, ...]
    fits: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """What `store.jobs.submit` needs of a job that passed. `spec` is resolved: every default filled in."""

    spec: dict[str, Any]
    dataset_id: str
    memory_bytes: int
    plan: JobPlan


def parse(document: object) -> Job:
    """A job from JSON as it was read. Raises InvalidSpec with every fault."""
    try:
        return JOB.validate_python(document)
    except ValidationError as error:
        found = faults(error, JOB, document)
        raise InvalidSpec(found[0].message if len(found) == 1 else f"{len(found)} faults", faults=found) from error


def admit(job: Job, store: Store, limit_bytes: int) -> Admitted:
    """Raises InvalidSpec or InvalidData with every fault that can be found, TooLarge when it needs over the limit."""
    row = materialize(job.spec.dataset, store)
    if isinstance(job, NgramJob):
        return _ngram(job.spec, row, limit_bytes)
    return _train(job.spec, store, row, limit_bytes)


def resolve(
    spec: TrainSpec, description: Description, validation: Description | None, test: Description | None
) -> tuple[TrainSpec, Outline]:
    """Every choice made that follows from the spec and the data. Raises InvalidSpec."""
    loss = spec.loss or loss_for(spec.network, spec.dataset, description)
    found = outline(description, spec.dataset, loss.target, dtype=spec.dtype, validation=validation, test=test)
    recipe, signature = recipe_of(spec, loss), signature_of(found)
    engine.plan(recipe, signature, found.outputs, found.rows)  # says every fault; resolve only takes what can be built
    chosen = engine.resolve(recipe, signature, found.outputs, found.rows)
    update = {"dataset": found.spec, "loss": loss, "training": chosen.training, "metrics": list(chosen.metrics or ())}
    return spec.model_copy(update=update), found


def _train(spec: TrainSpec, store: Store, row: DatasetRow, limit_bytes: int) -> Admitted:
    parts = [_part(getattr(spec.dataset, name), store, f"/spec/dataset/{name}") for name in ("validation", "test")]
    with _inside("/spec"):
        spec, found = resolve(spec, Description.model_validate(row.description), *parts)
        planned = engine.plan(recipe_of(spec), signature_of(found), found.outputs, found.rows)
    needed = planned.bytes + found.bytes
    _check_size(needed, limit_bytes, "/spec/network")
    plan = JobPlan(
        tuple(map(asdict, planned.layers)), planned.parameters, needed, _seconds(spec, planned, found.rows),
        (*found.warnings, *planned.warnings), fits=True,
    )  # fmt: skip
    inline = {"id": row.id, "rows": None} if spec.dataset.rows is not None else {}
    resolved = spec.model_copy(update={"dataset": spec.dataset.model_copy(update=inline)})
    memory = spec.max_memory_bytes or 2 * needed + _SLACK_BYTES
    return Admitted(resolved.model_dump(mode="json"), row.id, memory, plan)


def _ngram(spec: NgramJobSpec, row: DatasetRow, limit_bytes: int) -> Admitted:
    if row.kind != "text" and spec.dataset.column is None:
        fault = Fault("/spec/dataset", "not_a_text", f"an n-gram model needs a text, this is of kind {row.kind}")
        raise InvalidSpec(fault.message, hint="Upload a text, or name a `column` of text.", faults=[fault])
    planned = ngram.plan(ngram_spec(spec), row.bytes)
    _check_size(planned.bytes, limit_bytes, "/spec/order")
    seconds = 0.1 + row.bytes * spec.order / _NGRAM_BYTES_PER_S
    plan = JobPlan((), 0, planned.bytes, round(seconds, 1), planned.warnings, fits=True)
    inline = {"id": row.id, "rows": None} if spec.dataset.rows is not None else {}
    resolved = spec.model_copy(update={"dataset": spec.dataset.model_copy(update=inline)})
    memory = spec.max_memory_bytes or 2 * planned.bytes + _SLACK_BYTES
    return Admitted(resolved.model_dump(mode="json"), row.id, memory, plan)


def recipe_of(spec: TrainSpec, loss: Loss | None = None) -> Recipe:
    """The engine's part of a spec. Its loss must be known by now."""
    chosen = loss or spec.loss
    assert chosen is not None
    metrics = None if spec.metrics is None else tuple(spec.metrics)
    return Recipe(
        network=spec.network, loss=chosen, optimizer=spec.optimizer, training=spec.training, metrics=metrics,
        dtype=spec.dtype,
    )  # fmt: skip


def ngram_spec(spec: NgramJobSpec) -> NgramSpec:
    """The n-gram room's part of a spec."""
    return NgramSpec(**{name: getattr(spec, name) for name in NgramSpec.model_fields})


def _part(said: object, store: Store, pointer: str) -> Description | None:
    """A part of the data that is a data set of its own."""
    if not isinstance(said, Reference):
        return None
    row = materialize(DatasetSpec(id=said.id), store, pointer)
    return Description.model_validate(row.description)


@contextmanager
def _inside(prefix: str) -> Iterator[None]:
    """Pointers of faults found inside begin with the prefix."""
    try:
        yield
    except (InvalidSpec, TooLarge) as error:
        error.faults = tuple(replace(fault, pointer=prefix + fault.pointer) for fault in error.faults)
        raise


def _check_size(needed: int, limit_bytes: int, pointer: str) -> None:
    if needed > limit_bytes:
        message = f"the run would need {_mebibytes(needed)} of memory, {_mebibytes(limit_bytes)} are allowed"
        hint = "Make it smaller, or raise NETWRIGHT_MAX_MODEL_BYTES."
        raise TooLarge(message, hint=hint, faults=[Fault(pointer, "too_large", message, hint)])


def _mebibytes(count: int) -> str:
    return f"{-(-count // 2**20):,} MiB"


def _seconds(spec: TrainSpec, planned: engine.Plan, rows: int) -> float:
    """A rough guess: products forward and backward, the optimizer's pass over the parameters, each step's own cost."""
    training = spec.training
    steps = -(-rows // training.batch_size) * training.epochs
    steps = min(steps, training.max_steps or steps)
    seconds = 3 * planned.flops_per_row * steps * training.batch_size / _FLOPS_PER_S
    seconds += steps * (_STEP_S + planned.parameters / _UPDATES_PER_S)
    return round(min(seconds, training.max_seconds or seconds), 2)
