"""The door of the queue: every check of a job against its data, every default filled in, before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import ValidationError

from service import engine, ngram
from service.data import DatasetSpec, Outline, Reference, holds_text, outline, text_parts
from service.engine import Recipe
from service.errors import InvalidSpec
from service.ngram import NgramSpec
from service.specs.admitted import SLACK_BYTES, Admitted, JobPlan, check_size, inside
from service.specs.dataset import Source, source
from service.specs.evaluation import admit_evaluation
from service.specs.examples import signature_of
from service.specs.fault import faults
from service.specs.fork import check_repeated, spent, started
from service.specs.initial import pinned
from service.specs.job import JOB, ArpaJob, EvaluateJob, Job, MixtureJob, NgramJob, NgramJobSpec, SearchJob, TrainSpec
from service.specs.letters import check_letters, letters
from service.specs.search import admit_search
from service.specs.sequences import check_sequences, padding_told
from service.specs.target import doubts, loss_for
from service.specs.text import admit_arpa, admit_mixture, with_column
from service.storage import Store

_FLOPS_PER_S = 3.5e10  # of one core, products of middling size
_STEP_S = 5e-5  # what a step costs beside its products
_UPDATES_PER_S = 4e8  # parameters that an optimizer moves
_NGRAM_BYTES_PER_S = 4e7
_SAMPLE_BYTES = 1 << 18  # of a text, to tell how many tokens it has


def parse(document: object) -> Job:
    """A job from JSON as it was read. Raises InvalidSpec with every fault."""
    try:
        return JOB.validate_python(document)
    except ValidationError as error:
        found = faults(error, JOB, document)
        raise InvalidSpec(found[0].message if len(found) == 1 else f"{len(found)} faults", faults=found) from error


def admit(job: Job, store: Store, limit_bytes: int) -> Admitted:
    """Raises InvalidSpec or InvalidData with every fault that can be found, TooLarge when it needs over the limit.

    Nothing is stored of a job that is refused.
    """
    if isinstance(job, EvaluateJob):
        return admit_evaluation(job, store, limit_bytes)
    if isinstance(job, ArpaJob):
        return admit_arpa(job, store, limit_bytes)
    if isinstance(job, MixtureJob):
        return admit_mixture(job, store, limit_bytes)
    if isinstance(job, SearchJob):
        return admit_search(job, store, limit_bytes, _planned)
    check_repeated(job.spec.verify, store)
    with source(job.spec.dataset, store) as data:
        spec: TrainSpec | NgramJobSpec
        if isinstance(job, NgramJob):
            spec, plan = _ngram(job.spec, store, data)
        else:
            spec, plan = _train(job.spec, store, data, limit_bytes)
        check_size(plan.bytes, limit_bytes, "/spec/order" if isinstance(job, NgramJob) else "/spec/dataset")
        row = data.keep()
    resolved = spec.model_dump(mode="json")
    if spec.dataset.rows is not None:
        resolved["dataset"] |= {"id": row.id, "rows": None}
    return Admitted(resolved, row.id, spec.max_memory_bytes or 2 * plan.bytes + SLACK_BYTES, plan)


def _planned(spec: TrainSpec, store: Store, data: Source, limit_bytes: int) -> tuple[TrainSpec, JobPlan]:
    check_repeated(spec.verify, store)
    spec, plan = _train(spec, store, data, limit_bytes)
    check_size(plan.bytes, limit_bytes, "/spec/dataset")
    return spec, plan


def _train(spec: TrainSpec, store: Store, data: Source, limit_bytes: int) -> tuple[TrainSpec, JobPlan]:
    validation, test = (_part(spec.dataset, name, store) for name in ("validation", "test"))
    loss, metrics = spec.loss, spec.metrics
    with inside("/spec"):
        spec, found = _outlined(spec, data, validation, test)
    with inside("/spec"), padding_told(found):
        recipe, signature = engine.completed(recipe_of(spec), found.outputs), signature_of(found)
        if holds_text(data.description, spec.dataset):
            check_letters(recipe, signature, found.outputs, found.rows)
        if signature.timed:
            check_sequences(recipe, signature, found.outputs, found.rows)
        planned = engine.plan(recipe, signature, found.outputs, found.rows, limit_bytes)
        chosen = engine.resolve(recipe, signature, found.outputs, found.rows)
        network = pinned(recipe.network, signature, store)
    update = {
        "dataset": found.spec, "network": network, "training": chosen.training,
        "metrics": list(chosen.metrics or ()),
    }  # fmt: skip
    spec = spec.model_copy(update=update)
    with inside("/spec"):
        spec = spec.model_copy(update={"go_on_from": started(spec, store)})
    unsure = doubts(recipe.loss, found.spec, data.description) if loss is None else []
    held_back = found.validation_rows + found.test_rows
    plan = JobPlan(
        tuple(map(asdict, planned.layers)), planned.parameters,
        planned.bytes + found.bytes * held_back // (found.rows + held_back), _seconds(spec, planned, found.rows),
        (*found.warnings, *planned.warnings, *_unwatched(spec, found), *_unscored(metrics, found), *unsure,
         *spent(spec, found.rows)), fits=True,
    )  # fmt: skip
    return spec, plan


def _unwatched(spec: TrainSpec, found: Outline) -> list[str]:
    early = spec.training.early_stopping
    if early is None or early.monitor.startswith("train") or found.validation_rows:
        return []
    return [f"there is no validation part: early stopping watches train_loss, not {early.monitor}"]


def _unscored(metrics: Sequence[str] | None, found: Outline) -> list[str]:
    lost = [name for name in metrics or () if name != "accuracy"]  # which the steps tell of training rows too
    if not lost or found.validation_rows or found.test_rows:
        return []
    return [f"there is no validation part and no test part: {', '.join(lost[:5])} will not be measured"]


def _outlined(
    spec: TrainSpec, data: Source, validation: Source | None, test: Source | None
) -> tuple[TrainSpec, Outline]:
    """The spec with its loss, and what the network will see."""
    if holds_text(data.description, spec.dataset):
        return letters(spec, data, validation, test)
    loss = spec.loss or loss_for(spec.network, spec.dataset, data.description)
    held, last = (None if part is None else part.description for part in (validation, test))
    found = outline(data.description, spec.dataset, loss.target, dtype=spec.dtype, validation=held, test=last)
    return spec.model_copy(update={"loss": loss}), found


def _ngram(spec: NgramJobSpec, store: Store, data: Source) -> tuple[NgramJobSpec, JobPlan]:
    spec = spec.model_copy(update={"dataset": with_column(spec.dataset, data.description, "an n-gram model needs")})
    parts = [_part(spec.dataset, name, store) for name in ("validation", "test")]
    text, told = None, tuple[str, ...]()
    if data.description.kind == "text":
        text = data.open().text()
        held, last = (None if part is None else part.open() for part in parts)
        with inside("/spec"):
            told = text_parts(data.open(), spec.dataset, validation=held, test=last).warnings
    told = (*told, *_unheeded(spec))
    size = data.bytes if text is None else len(text)
    planned = ngram.plan(ngram_spec(spec), size, b"" if text is None else bytes(text[:_SAMPLE_BYTES]))
    seconds = round(0.1 + size * spec.order / _NGRAM_BYTES_PER_S, 1)
    return spec, JobPlan((), 0, planned.bytes, seconds, (*told, *planned.warnings), fits=True)


def _unheeded(spec: NgramJobSpec) -> list[str]:
    """What the spec says that counting does not look at."""
    said = [name for name in ("features", "target", "window", "missing", "dates") if getattr(spec.dataset, name)]
    told = [f"an n-gram model only reads a text: dataset.{name} changes nothing" for name in said]
    if spec.tune_cache and not spec.dataset.validation:
        told.append("there is no validation part to tune a cache on: tune_cache changes nothing")
    return told


def recipe_of(spec: TrainSpec) -> Recipe:
    """The engine's part of a spec. Its loss must be known by now."""
    assert spec.loss is not None
    metrics = None if spec.metrics is None else tuple(spec.metrics)
    return Recipe(
        network=spec.network, loss=spec.loss, optimizer=spec.optimizer, training=spec.training, metrics=metrics,
        dtype=spec.dtype,
    )  # fmt: skip


def ngram_spec(spec: NgramJobSpec) -> NgramSpec:
    """The n-gram room's part of a spec."""
    return NgramSpec(**{name: getattr(spec, name) for name in NgramSpec.model_fields})


def _part(dataset: DatasetSpec, name: Literal["validation", "test"], store: Store) -> Source | None:
    """A part that is a data set of its own."""
    said = getattr(dataset, name)
    if not isinstance(said, Reference):
        return None
    with source(DatasetSpec(id=said.id), store, f"/spec/dataset/{name}") as data:
        return data


def _seconds(spec: TrainSpec, planned: engine.Plan, rows: int) -> float:
    """A rough guess: products forward and backward, the optimizer's pass over the parameters, each step's own cost."""
    training = spec.training
    steps = training.steps(rows)
    seconds = 3 * planned.flops_per_row * steps * training.batch_size / _FLOPS_PER_S
    seconds += steps * (_STEP_S + planned.parameters / _UPDATES_PER_S)
    return round(min(seconds, training.max_seconds or seconds), 2)
