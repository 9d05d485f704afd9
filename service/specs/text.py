"""The door for models made of other models' n-grams: ARPA files and mixtures."""

from __future__ import annotations

from service import ngram, tensors
from service.data import DatasetSpec, Description
from service.errors import Conflict, Fault, InvalidSpec, NotFound, did_you_mean
from service.ngram import Model
from service.specs import artifact
from service.specs.admitted import SLACK_BYTES, Admitted, JobPlan, check_size, inside
from service.specs.dataset import source
from service.specs.job import ArpaJob, MixtureJob
from service.storage import Resolved, Store

_FIXED_BYTES = 64 << 20
_ARPA_FACTOR = 4  # memory a byte of the file
_ARPA_BYTES_PER_S = 1.5e7
_WORD_BYTES = 400  # of the words of all models together, as they are put in order
_MIXED_BYTES_PER_S = 2e6


def admit_arpa(job: ArpaJob, store: Store, limit_bytes: int) -> Admitted:
    """Raises InvalidSpec with every fault, TooLarge; nothing is stored of a job that is refused."""
    spec = job.spec
    with source(spec.dataset, store) as data:
        if data.description.kind != "text":
            hint = "Upload the file with format text."
            raise _refusal(
                "/spec/dataset", "not_a_text", f"an ARPA file is a text, this is of kind {data.description.kind}", hint
            )
        size = len(data.open().text())
        plan = _plan(_FIXED_BYTES + _ARPA_FACTOR * size, size / _ARPA_BYTES_PER_S)
        check_size(plan.bytes, limit_bytes, "/spec/dataset")
        row = data.keep()
    memory = spec.max_memory_bytes or 2 * plan.bytes + SLACK_BYTES
    return Admitted(spec.model_dump(mode="json"), row.id, memory, plan)


def admit_mixture(job: MixtureJob, store: Store, limit_bytes: int) -> Admitted:
    """The same for a mixture."""
    spec, found = job.spec, [_resolved(ref, at, store) for at, ref in enumerate(job.spec.models)]
    models = [_model(each, at, store) for at, each in enumerate(found)]
    with inside("/spec"):
        try:
            ngram.check_alike([model.spec for model in models])
        except InvalidSpec as error:
            raise _refusal("/models", "not_alike", error.message, error.hint) from error
    with source(spec.dataset, store) as data:
        dataset = with_column(spec.dataset, data.description, "weights are tuned on")
        size = len(data.open().text()) if data.description.kind == "text" else data.bytes
        words = sum(len(model.vocabulary) for model in models)
        plan = _plan(_FIXED_BYTES + _WORD_BYTES * words + 40 * size, size / _MIXED_BYTES_PER_S)
        check_size(plan.bytes, limit_bytes, "/spec/dataset")
        row = data.keep()
    update = {
        "models": [each.run_id if each.name is None else f"{each.name}:{each.version}" for each in found],
        "runs": [each.run_id for each in found], "blobs": [each.blob for each in found],
        "dataset": dataset.model_copy(update={"id": row.id, "sample": None, "rows": None}),
    }  # fmt: skip
    memory = spec.max_memory_bytes or 2 * plan.bytes + SLACK_BYTES
    return Admitted(spec.model_copy(update=update).model_dump(mode="json"), row.id, memory, plan)


def _plan(bytes_: int, seconds: float) -> JobPlan:
    return JobPlan((), 0, bytes_, round(0.1 + seconds, 1), (), fits=True)


def _resolved(ref: str, at: int, store: Store) -> Resolved:
    try:
        return store.models.resolve(ref)
    except (NotFound, Conflict) as error:
        raise _refusal(f"/spec/models/{at}", "not_found", error.message, error.hint) from error


def _model(found: Resolved, at: int, store: Store) -> Model:
    pointer = f"/spec/models/{at}"
    path = store.blobs.path(found.blob)
    if not path.exists():
        raise _refusal(pointer, "not_found", f"the file of {found.ref} is gone")
    file = tensors.read(path)
    model = ngram.load(file) if artifact.kind_of(file) == "ngram" else None
    if isinstance(model, Model):
        return model
    what = "a network" if model is None else "a mixture itself"
    raise _refusal(pointer, "not_an_ngram_model", f"{found.ref} is {what}: only n-gram models can be mixed")


def with_column(dataset: DatasetSpec, data: Description, user: str) -> DatasetSpec:
    """Of a table with the column that holds the text: the one that is named, `text`, or the only one of long texts.

    Raises InvalidSpec when there is none such; `user`: what needs a text.
    """
    if data.kind == "text":
        return dataset
    words = [column.name for column in data.columns if column.type in {"text", "category"}]
    named = "text" if dataset.column is None and "text" in words else dataset.column
    if named is None:
        texts = [column.name for column in data.columns if column.type == "text"]
        if len(texts) != 1:
            hint = f'Upload a text, or name a "column" of words: {", ".join(words[:10]) or "there is none"}.'
            raise _refusal("/spec/dataset", "not_a_text", f"{user} a text, this is of kind {data.kind}", hint)
        named = texts[0]
    if named not in words:
        hint = did_you_mean(named, words) or f"Columns of words: {', '.join(words[:10]) or 'none'}."
        raise _refusal("/spec/dataset/column", "unknown_column", f"no column of words {named!r}", hint)
    return dataset.model_copy(update={"column": named})


def _refusal(pointer: str, code: str, message: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(message, hint=hint, faults=[Fault(pointer, code, message, hint)])
