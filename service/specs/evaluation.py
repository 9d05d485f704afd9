"""The door for evaluations: which weights, which rows, and whether the one can be asked of the other."""

from __future__ import annotations

from service import engine, tensors
from service.data import DatasetSpec, Letters, PartName, Preprocessor, Reference, apply, holds_text
from service.errors import Conflict, Fault, InvalidSpec, NotFound, did_you_mean
from service.specs import artifact
from service.specs.admitted import SLACK_BYTES, Admitted, JobPlan, check_size, inside
from service.specs.artifact import NetworkModel
from service.specs.dataset import Source, source
from service.specs.job import EvaluateJob, EvaluateSpec
from service.storage import Resolved, Store

_FLOPS_PER_S = 2e10  # of one core, two passes
_TEXT_BYTES_PER_S = 4e6
_PIECE_BYTES = 64 << 20  # of rows at hand at once, generously


def admit_evaluation(job: EvaluateJob, store: Store, limit_bytes: int) -> Admitted:
    """Raises InvalidSpec or InvalidData with every fault, TooLarge; nothing is stored of a job that is refused."""
    spec, found = job.spec, _resolved(job.spec, store)
    dataset, part = _rows(spec, store, found)
    file = tensors.read(store.blobs.path(found.blob))
    model = artifact.unpack(file) if artifact.kind_of(file) == "network" else None
    with source(dataset, store) as data:
        if model is not None and isinstance(model.preprocessor, Preprocessor):
            with inside("/spec/dataset"):
                rows = len(apply(data.open(), model.preprocessor, leave_out=True).held(dataset, part))
            metrics = _metrics(spec, model)
            _check_questions(spec, model.preprocessor)
        else:
            _check_questions(spec, None)
            rows, metrics = _text(data, dataset), _no_metrics(spec)
        weights = sum(array.nbytes for array in file.arrays.values())
        plan = _plan(model, weights, rows, data.bytes)
        check_size(plan.bytes, limit_bytes, "/spec/dataset")
        row = data.keep()
    name = found.run_id if found.name is None else f"{found.name}:{found.version}"
    update = {
        "model": name, "dataset": dataset.model_copy(update={"id": row.id, "sample": None, "rows": None}), "part": part,
        "metrics": metrics, "run": found.run_id, "blob": found.blob,
    }  # fmt: skip
    resolved = spec.model_copy(update=update).model_dump(mode="json")
    memory = spec.max_memory_bytes or 2 * plan.bytes + SLACK_BYTES
    return Admitted(resolved, row.id, memory, plan, found.blob)


def _resolved(spec: EvaluateSpec, store: Store) -> Resolved:
    try:
        found = store.models.resolve(spec.model)
    except (NotFound, Conflict) as error:
        raise _refusal("/spec/model", "not_found", error.message, error.hint) from error
    if not store.blobs.path(found.blob).exists():
        raise _refusal("/spec/model", "not_found", f"the weights of {spec.model} are gone")
    return found


def _rows(spec: EvaluateSpec, store: Store, found: Resolved) -> tuple[DatasetSpec, PartName]:
    """The data set and which of its rows; what was held back, when nothing else is said."""
    given = spec.dataset
    if given is None:
        of_run = store.runs.get(found.run_id).spec.get("dataset")
        if of_run is None:
            raise _refusal("/spec/dataset", "missing", "nothing is known of the data of this model: name a data set")
        given = DatasetSpec.model_validate(of_run)
    for name in ("test", "validation"):
        held = getattr(given, name)
        if spec.part in (None, name) and isinstance(held, Reference):
            other = {"id": held.id, "sample": None, "rows": None, "validation": 0.0, "test": 0.0}
            return given.model_copy(update=other), "all"
        if spec.part in (None, name) and held:
            return given, name
    if spec.part in ("validation", "test"):
        raise _refusal("/spec/part", "no_rows", f"no rows were held back for {spec.part}")
    if spec.dataset is None and spec.part is None:
        hint = 'Name a data set, or ask for the rows of the training with "part": "train".'
        raise _refusal("/spec/dataset", "no_rows", "no rows were held back when this model was trained", hint)
    return given, spec.part or "all"


def _metrics(spec: EvaluateSpec, model: NetworkModel) -> list[str]:
    target = model.loss.target
    if spec.metrics is None:
        return list(engine.usual_metrics(target))
    known = engine.metric_names(target)
    faults = [
        Fault(f"/spec/metrics/{at}", "unknown_word", f"no metric {name[:80]!r} of such a model",
              did_you_mean(name, known), known)
        for at, name in enumerate(spec.metrics) if name not in known
    ]  # fmt: skip
    if faults:
        raise InvalidSpec(faults[0].message, hint=faults[0].hint, faults=faults)
    return list(dict.fromkeys(spec.metrics))


def _check_questions(spec: EvaluateSpec, preprocessor: Preprocessor | None) -> None:
    """Raises InvalidSpec where a question does not fit the kind of model."""
    if spec.importance and (preprocessor is None or not preprocessor.is_table):
        raise _refusal("/spec/importance", "no_columns", "only models of tables have columns whose worth can be told")
    if spec.temperature is not None and (preprocessor is None or not preprocessor.one_of):
        raise _refusal("/spec/temperature", "no_classes", "only models of classes have a temperature")


def _no_metrics(spec: EvaluateSpec) -> list[str]:
    if spec.metrics:
        raise _refusal("/spec/metrics", "no_metrics", "a text model has no metrics to choose: its perplexity is told")
    return []


def _text(data: Source, dataset: DatasetSpec) -> int:
    """How many rows a text has. Raises InvalidSpec when it is none."""
    if not holds_text(data.description, dataset) and dataset.column is None:
        message = f"a text model needs a text, this is of kind {data.description.kind}"
        raise _refusal("/spec/dataset", "not_a_text", message, "Upload a text, or name a `column` of text.")
    return data.description.rows


def _plan(model: NetworkModel | None, weights: int, rows: int, text_bytes: int) -> JobPlan:
    if model is None or isinstance(model.preprocessor, Letters):
        return JobPlan((), 0, weights + _PIECE_BYTES, round(0.1 + text_bytes / _TEXT_BYTES_PER_S, 1), (), fits=True)
    parameters = sum(array.size for array in model.weights.values())
    bytes_ = 3 * weights + _PIECE_BYTES + 16 * rows * model.outputs
    seconds = 0.05 + 4 * parameters * rows / _FLOPS_PER_S
    return JobPlan((), parameters, bytes_, round(seconds, 2), (), fits=True)


def _refusal(pointer: str, code: str, message: str, hint: str | None = None) -> InvalidSpec:
    return InvalidSpec(message, hint=hint, faults=[Fault(pointer, code, message, hint)])
