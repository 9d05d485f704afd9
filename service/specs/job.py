"""What may be submitted: a discriminated union on `type`."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from service.data import DatasetSpec, PartName
from service.engine import Loss, NetworkSpec, Optimizer, Recipe, TrainingSpec
from service.ngram import NgramSpec, Reading
from service.specs.candidates import Grid, Random

SPEC_VERSION: Literal[1] = 1
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Priority = Annotated[int, Field(ge=-100, le=100)]
MemoryBytes = Annotated[int, Field(ge=1_000_000, le=1 << 50)]
RunId = Annotated[str, StringConstraints(pattern=r"^run_[A-Za-z0-9_-]{1,64}$")]
ModelRef = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _decodable(secret: str) -> str:
    if secret.startswith("whsec_"):
        try:
            base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ValueError("what follows whsec_ is not base64, as receivers will expect") from error
    return secret


class Webhook(_Spec):
    """Who is told when the job has succeeded, failed or been cancelled: one POST, again until the answer is 2xx.

    With a `secret` it is signed as standardwebhooks.com has it; `whsec_` and base64, or any text.
    """

    url: Annotated[str, StringConstraints(max_length=2000, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")]
    secret: Annotated[str, StringConstraints(min_length=8, max_length=200), AfterValidator(_decodable)] | None = None


class _Job(_Spec):
    """What every job may say of itself: a name, tags, how urgent it is (higher goes first), who is told of its end."""

    name: Label | None = None
    tags: Annotated[list[Label], Field(max_length=50)] = []
    priority: Priority = 0
    webhook: Webhook | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        schema["required"] = ["type", *(name for name in schema.get("required", []) if name != "type")]
        return reference


class GoOnFrom(_Spec):
    """A published state of another run: training goes on from it as if it had never stopped.

    Without a `step` the newest one is meant. `blob` is filled in.
    """

    run: RunId
    step: Annotated[int, Field(ge=1)] | None = None
    blob: Sha256 | None = None


class TrainSpec(_Spec):
    """A network, the data it learns from, and how. What is left out is filled in; the answer echoes it.

    `loss` follows from the network's end and the target when it is left out. `max_memory_bytes` ends the run with
    out_of_memory instead of taking the machine along. `verify` names a run that this one repeats: at the end their
    weights are compared.
    """

    spec_version: Literal[1] = SPEC_VERSION
    dataset: DatasetSpec
    network: NetworkSpec
    loss: Loss | None = None
    optimizer: Optimizer = Recipe.model_fields["optimizer"].default
    training: TrainingSpec = TrainingSpec()
    metrics: Annotated[list[str], Field(max_length=20)] | None = None
    dtype: Literal["float32", "float64"] = "float32"
    max_memory_bytes: MemoryBytes | None = None
    go_on_from: GoOnFrom | None = None
    verify: RunId | None = None


class TrainJob(_Job):
    """Trains one network on one data set."""

    type: Literal["train"] = "train"
    spec: TrainSpec


class NgramJobSpec(NgramSpec):
    """An n-gram language model and the text it counts. `dataset.validation` holds back the end of the text.

    `tune_cache` also finds the cache (decay and weights) under which the validation part is most probable; requests
    with `"cache": {}` then take it. Perplexities with it are told apart: `val_perplexity_with_cache`.
    """

    spec_version: Literal[1] = SPEC_VERSION
    dataset: DatasetSpec
    tune_cache: bool = False
    max_memory_bytes: MemoryBytes | None = None
    verify: RunId | None = None


class NgramJob(_Job):
    """Counts one n-gram language model from one text."""

    type: Literal["ngram"] = "ngram"
    spec: NgramJobSpec


class EvaluateSpec(_Spec):
    """A model and the rows whose answers are known.

    Without a `dataset` it is the one the model was trained on, and there the `part` that was held back: test if there
    is one, else validation. Of a data set named here `part` is all rows, unless it says what is split off. `run` and
    `blob`, the very weights, are filled in.

    `importance`: shuffle each column of a table so many times, and tell how much worse the model does. `temperature`:
    tell the calibration under this one too; else under the one that fits these rows best.
    """

    spec_version: Literal[1] = SPEC_VERSION
    model: ModelRef
    dataset: DatasetSpec | None = None
    part: PartName | None = None
    metrics: Annotated[list[str], Field(max_length=20)] | None = None
    worst_rows: Annotated[int, Field(ge=0, le=1_000)] = 20
    importance: Annotated[int, Field(ge=0, le=100)] = 0
    temperature: Annotated[float, Field(ge=0.05, le=20)] | None = None
    max_memory_bytes: MemoryBytes | None = None
    run: RunId | None = None
    blob: Sha256 | None = None


class EvaluateJob(_Job):
    """Scores a model: loss and metrics, the confusion of its classes, the rows it does worst on."""

    type: Literal["evaluate"] = "evaluate"
    spec: EvaluateSpec


class ArpaSpec(Reading):
    """An ARPA file, uploaded as a text (`format` text), whose n-grams become a model.

    The file does not say how texts are to be read for it: `tokenizer` and the options beside it do, as when its model
    was counted. A file of characters or bytes names blanks <0x20>.
    """

    spec_version: Literal[1] = SPEC_VERSION
    dataset: DatasetSpec
    max_memory_bytes: MemoryBytes | None = None


class ArpaJob(_Job):
    """Makes a model of an ARPA file, as KenLM, SRILM and others write it."""

    type: Literal["arpa"] = "arpa"
    spec: ArpaSpec


class MixtureSpec(_Spec):
    """Two or more n-gram models, mixed: p(w | h) = sum of weight times p of each.

    The weights are those under which the text of `dataset` is most probable, unless they are given; it should be none
    that the models have counted. Its `test` part is kept for a last score. `runs` and `blobs`, the very models, are
    filled in.
    """

    spec_version: Literal[1] = SPEC_VERSION
    models: Annotated[list[ModelRef], Field(min_length=2, max_length=8)]
    weights: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=8)] | None = None
    dataset: DatasetSpec
    tune_cache: bool = False
    max_memory_bytes: MemoryBytes | None = None
    runs: Annotated[list[RunId], Field(max_length=8)] | None = None
    blobs: Annotated[list[Sha256], Field(max_length=8)] | None = None

    @model_validator(mode="after")
    def _a_weight_each(self) -> MixtureSpec:
        if self.weights is not None and len(self.weights) != len(self.models):
            raise PydanticCustomError("weights", "there must be one weight for each model")
        if self.weights is not None and abs(sum(self.weights) - 1) > 1e-6:
            raise PydanticCustomError("weights", "the weights must be 1 together")
        return self


class MixtureJob(_Job):
    """Mixes n-gram models to one that stands in a file of its own."""

    type: Literal["mixture"] = "mixture"
    spec: MixtureSpec


class Halving(_Spec):
    """Ends trials early: at epochs r, r f, r f^2, ... one goes on when among the best 1/f of those that got there.

    r: `least_epochs`, f: `factor`. Nobody waits: a trial is compared with those of its fold that were at that epoch
    before it, so which ones end hangs on their order. Asynchronous successive halving, stopping form, Li et al. 2018.
    """

    least_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    factor: Annotated[int, Field(ge=2, le=100)] = 3


class SearchSpec(_Spec):
    """One training, many times: each of `folds` parts held back once, fields of its spec varied, or both.

    `folds`: k-fold cross-validation; part i of k is the validation part of trial i. The parts are drawn by the data's
    `split_seed`, alike in their classes if its split is `stratified`. `candidates`: what is tried, each on every fold.
    Each trial is a run of type train with its spec, metrics and model: GET runs?job=, GET jobs/{id}/trials.
    """

    spec_version: Literal[1] = SPEC_VERSION
    train: TrainSpec
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    candidates: Annotated[Grid | Random, Field(discriminator="kind")] | None = None
    monitor: Annotated[str, StringConstraints(max_length=100, pattern=r"^(train|val|test)_[a-z0-9_]+$")] = "val_loss"
    halving: Halving | None = None

    @model_validator(mode="after")
    def _something_to_try(self) -> SearchSpec:
        if self.folds is None and self.candidates is None:
            raise PydanticCustomError("nothing_to_try", "a search has folds, candidates, or both")
        return self


class SearchJob(_Job):
    """Cross-validates a training, or finds the best of several: a run for each trial."""

    type: Literal["search"] = "search"
    spec: SearchSpec


Job = TrainJob | NgramJob | ArpaJob | MixtureJob | EvaluateJob | SearchJob
JobRequest = Annotated[Job, Field(discriminator="type")]
JOB: TypeAdapter[Job] = TypeAdapter(JobRequest)
