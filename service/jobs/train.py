"""Trains one network: its data prepared, the last good checkpoint taken up, then the lesson."""

from __future__ import annotations

import json
from collections.abc import Mapping

from service import tensors
from service.data import Dataset, Prepared, Preprocessor, holds_text, prepare, prepare_letters
from service.engine import Examples, Training
from service.errors import DataUnusable
from service.jobs import cores, resume
from service.jobs.lesson import Lesson
from service.jobs.rungs import Rungs
from service.jobs.verdict import Verdict, Work
from service.specs import BLOB, TrainSpec, examples_of, recipe_of, signature_of
from service.tensors import Array


def train(work: Work) -> Verdict:
    """From the resolved spec to the verdict. Raises RunError, GivenBack."""
    spec = TrainSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    recipe, prepared = recipe_of(spec), _prepared(work, spec, work.dataset(row))
    signature = signature_of(prepared)
    training = Training(
        recipe, signature, prepared.outline.outputs, *_parts(prepared), state=resume.state(work, spec),
        initial=_initial(work, spec), units=_units(prepared),
        processes=cores.processes(work.settings.data_dir, work.store.tally),
    )  # fmt: skip
    lesson = Lesson(work, spec, prepared, signature, training, Rungs.of(work.store, work.run))
    finished = lesson.learn()
    if finished is None:
        return lesson.cancelled()
    return lesson.succeeded(finished, row.sha256)


def _prepared(work: Work, spec: TrainSpec, dataset: Dataset) -> Prepared:
    parts = {"validation": work.referred(spec.dataset.validation), "test": work.referred(spec.dataset.test)}
    if holds_text(dataset.description, spec.dataset):
        prepared = prepare_letters(dataset, spec.dataset, **parts)
    else:
        prepared = prepare(dataset, spec.dataset, recipe_of(spec).loss.target, dtype=spec.dtype, **parts)
    work.reporter.tell(events=[("warning", {"message": message}) for message in prepared.warnings])
    return prepared


def _units(prepared: Prepared) -> tuple[float, ...]:
    return prepared.preprocessor.units if isinstance(prepared.preprocessor, Preprocessor) else ()


def _parts(prepared: Prepared) -> tuple[Examples, Examples | None, Examples | None]:
    """Of training, validation and test; None for a part without rows."""
    validation, test = (
        examples_of(part) if part is not None and len(part.x) else None for part in (prepared.validation, prepared.test)
    )
    return examples_of(prepared.train), validation, test


def _initial(work: Work, spec: TrainSpec) -> Mapping[str, Array] | None:
    reference = spec.network.initial_weights
    if reference is None:
        return None
    path = work.store.blobs.path(reference.removeprefix(BLOB))
    if not path.exists():
        raise DataUnusable("the weights to begin with are gone: the run they came from has been deleted")
    return tensors.read(path).arrays
