"""What the API answers with. No field has a default, so that the schema tells the truth: every one is always there."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service import storage
from service.data import ColumnDescription

T = TypeVar("T")
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
METRIC_PARTS = ("first", "last", "min", "max")


class View(BaseModel):
    """Base of all answers; reads the store's rows by the names of their fields."""

    model_config = ConfigDict(frozen=True, from_attributes=True, ser_json_inf_nan="null")


class ListView(View, Generic[T]):
    """A piece of a list; `next` is what to give as `after` for the following one."""

    data: list[T]
    has_more: bool
    next: str | None


class FaultView(View):
    """One thing wrong at one place."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; /query/... and /header/... for parameters."
    )
    code: str
    message: str


class ProblemView(View):
    """Why a request failed (RFC 9457). `errors` has every fault; `hint` and `allowed` stand where they help."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; decide by this one.")
    request_id: str


class DatasetView(View):
    """An immutable data set."""

    id: str
    name: str
    kind: Literal["table", "array", "image", "series", "text"]
    rows: int = Field(description="Lines, for a text.")
    columns: list[ColumnDescription]
    bytes: int
    sha256: str = Field(description="Of the upload as it came; the same upload twice is one data set.")
    warnings: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: storage.DatasetRow) -> Self:
        described = row.description
        same = ("id", "name", "kind", "rows", "bytes", "sha256", "created_at")
        given = {name: getattr(row, name) for name in same}
        return cls(**given, columns=described["columns"], warnings=described["warnings"])


class PreviewView(View):
    """The first rows, as they would be sent to a model."""

    id: str
    rows: list[Any]


class LayerView(View):
    """One layer of a planned network; shapes are those of one row."""

    index: int
    kind: str
    shape_in: list[int]
    shape_out: list[int]
    parameters: int


class PlanView(View):
    """What a job would take. Nothing of it was stored."""

    type: str
    layers: list[LayerView]
    parameters: int
    bytes: int = Field(description="Peak of memory.")
    estimated_seconds: float | None
    warnings: list[str]
    spec: dict[str, Any] = Field(description="Resolved: every default filled in.")


class ErrorView(View):
    """Why a run failed, for programs and for people."""

    code: str
    message: str
    hint: str | None
    step: int | None
    layer: str | None

    @classmethod
    def of(cls, error: Any) -> Self | None:
        return None if error is None else cls(**{name: error.get(name) for name in cls.model_fields})


class TransitionView(View):
    """When a job came into a state."""

    status: Status
    at: datetime


class JobView(View):
    """What was submitted, its place in the queue and its state."""

    id: str
    type: str
    name: str | None
    tags: list[str]
    status: Status
    phase: str
    progress: float = Field(description="0 to 1.")
    eta_s: float | None
    run_id: str | None = Field(description="The run, when there is exactly one.")
    run_ids: list[str]
    priority: int
    queue_position: int | None = Field(description="1 is next; only while queued.")
    attempt: int = Field(description="Process lives so far.")
    stop_requested: Literal["cancel", "pause"] | None
    stopped_by: str | None
    error: ErrorView | None
    transitions: list[TransitionView]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    spec: dict[str, Any] | None = Field(description="Resolved. Null in lists, and where an answer would be too large.")

    @classmethod
    def of(cls, job: storage.Job, *, with_spec: bool = True) -> Self:
        run_id = job.run_ids[0] if len(job.run_ids) == 1 else None
        given = {name: getattr(job, name) for name in cls.model_fields if name not in ("run_id", "error", "spec")}
        given |= {"tags": list(job.tags), "run_ids": list(job.run_ids), "transitions": list(job.transitions)}
        return cls(**given, run_id=run_id, error=ErrorView.of(job.error), spec=dict(job.spec) if with_spec else None)


class EventView(View):
    """One line of what happened; `id` is its sequence number in the store."""

    id: int
    kind: str
    job_id: str | None
    run_id: str | None
    data: dict[str, Any]
    at: datetime


class MetricView(View):
    """A series in a few numbers; null where nothing finite was measured."""

    count: int
    nonfinite: int
    first: float | None
    first_step: int | None
    last: float | None
    last_step: int | None
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None
    best: float | None = Field(description="The better end; null when the name does not tell which end that is.")
    best_step: int | None
    mean: float | None
    direction: Literal["min", "max"] | None

    @classmethod
    def of(cls, summary: Any) -> Self:
        found = {"count": summary["n"], **{name: summary[name] for name in ("nonfinite", "mean", "direction")}}
        for part in (*METRIC_PARTS, "best"):
            point = summary[part] or {"value": None, "step": None}
            found |= {part: point["value"], f"{part}_step": point["step"]}
        return cls(**found)


class MetricsView(View):
    """Every metric of a run."""

    run: str
    metrics: dict[str, MetricView]


class PointView(View):
    """A value and the step it stands at."""

    value: float | None
    step: int | None


class RunView(View):
    """The record of one training of one resolved spec."""

    id: str
    job_id: str | None
    type: str
    name: str | None
    tags: list[str]
    notes: str
    status: Status
    spec: dict[str, Any]
    dataset_id: str | None
    step: int
    best: dict[str, PointView]
    summary: dict[str, MetricView]
    weights_sha256: str | None
    model_sha256: str | None = Field(description="The file of its best weights; a run still training may serve others.")
    receipt: dict[str, Any] | None
    warnings: list[str]
    error: ErrorView | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, run: storage.Run) -> Self:
        summary = {name: MetricView.of(each) for name, each in run.summary.items()}
        best = {name: PointView(**each["best"]) for name, each in run.summary.items() if each["best"]}
        same = ("id", "job_id", "type", "name", "notes", "status", "dataset_id", "step", "weights_sha256")
        return cls(
            **{name: getattr(run, name) for name in (*same, "created_at", "started_at", "ended_at")},
            tags=list(run.tags), spec=dict(run.spec), best=best, summary=summary, model_sha256=run.model_blob,
            receipt=None if run.receipt is None else dict(run.receipt),
            warnings=list(run.report.get("warnings", [])), error=ErrorView.of(run.error),
        )  # fmt: skip


class CheckpointView(View):
    """A published state of a run."""

    step: int
    kind: Literal["state", "model"] = Field(description="state: training goes on from it; model: weights that serve.")
    sha256: str
    bytes: int
    weights_sha256: str
    created_at: datetime

    @classmethod
    def of(cls, row: storage.Checkpoint) -> Self:
        same = ("step", "kind", "bytes", "weights_sha256", "created_at")
        return cls(sha256=row.blob, **{name: getattr(row, name) for name in same})


class VersionView(View):
    """A version of a model: a numbered pointer at a run's weights."""

    name: str
    version: int
    run_id: str
    sha256: str
    note: str
    created_at: datetime

    @classmethod
    def of(cls, row: storage.ModelVersion) -> Self:
        same = ("name", "version", "run_id", "note", "created_at")
        return cls(sha256=row.blob, **{name: getattr(row, name) for name in same})


class AliasMoveView(View):
    """One move of an alias; `version` is null where it was taken away."""

    alias: str
    version: int | None
    at: datetime


class ModelView(View):
    """A model in OpenAI's shape, and what else we know of it."""

    id: str = Field(description="The reference to give as `model`.")
    object: Literal["model"]
    created: int = Field(description="Seconds since 1970.")
    owned_by: str
    version: int | None
    run_id: str

    @classmethod
    def of(cls, row: storage.ModelVersion) -> Self:
        return cls(
            id=row.name, object="model", created=int(row.created_at.timestamp()), owned_by="netwright",
            version=row.version, run_id=row.run_id,
        )  # fmt: skip


class NamedModelView(ModelView):
    """The same with its versions, newest first, and where its aliases point and pointed."""

    versions: list[VersionView]
    aliases: dict[str, int]
    history: list[AliasMoveView]


class ModelsView(View):
    """All models by name, as OpenAI's list with our cursors."""

    object: Literal["list"]
    data: list[ModelView]
    has_more: bool
    next: str | None


class HealthView(View):
    """Whether the service lives, or is ready to take jobs."""

    status: Literal["ok", "draining"]
    workers: int
    version: str


class SystemView(View):
    """The machine and what the service does with it."""

    version: str
    python: str
    cores: int
    workers: int
    jobs_queued: int
    jobs_running: int
    models_loaded: int
    models_bytes: int
    uptime_s: float


class ConfusionView(View):
    """Counts by true class (rows) and answered class (columns), on one part of the data."""

    run: str
    part: Literal["validation", "test"]
    classes: list[str]
    counts: list[list[int]]


class WorstRowsView(View):
    """The rows with the largest loss, worst first, by their number in the data set."""

    run: str
    part: Literal["validation", "test"]
    rows: list[dict[str, Any]]


class NonfiniteView(View):
    """A value that JSON cannot say, by its step."""

    step: int
    value: Literal["NaN", "Infinity", "-Infinity"]


class SeriesView(View):
    """Points in columns, steps ascending. What is not finite is null in `values` and told in `nonfinite`."""

    steps: list[int]
    values: list[float | None]
    times: list[int] = Field(description="Milliseconds since 1970 UTC.")
    nonfinite: list[NonfiniteView]
    count: int = Field(description="Points in the range before they were reduced.")
    reduced: str | None


class RunSeriesView(View):
    """Series of one run by metric name."""

    run: str
    series: dict[str, SeriesView]


class QueryView(View):
    """Series of several runs, in the order asked for."""

    data: list[RunSeriesView]


class ClassPredictionView(View):
    """The likeliest class, and how likely each is (the `top_k` likeliest, when that was asked)."""

    label: str
    probability: float
    probabilities: dict[str, float]


class ValuePredictionView(View):
    """A number, in the target's own units."""

    value: float | None = Field(description="Null when it is not finite.")


class ValuesPredictionView(View):
    """Several numbers, by target."""

    values: dict[str, float | None]


class PredictionsView(View):
    """One prediction a row, in the rows' order; `model` is the version that made them."""

    model: str
    predictions: list[ClassPredictionView | ValuePredictionView | ValuesPredictionView]


class LogprobsView(View):
    """Natural log-probabilities under the model itself, token by token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class ChoiceView(View):
    """One continuation."""

    text: str
    index: int
    logprobs: LogprobsView | None
    finish_reason: Literal["stop", "length"]


class UsageView(View):
    """Tokens read and drawn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionView(View):
    """Continuations in OpenAI's shape."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[ChoiceView]
    usage: UsageView


class SuggestionView(View):
    """A next word and its probability."""

    text: str
    probability: float


class SuggestionsView(View):
    """The likeliest next words, best first."""

    model: str
    suggestions: list[SuggestionView]


class ScoreView(View):
    """How well a model expects a text. `tokens` counts every word and every sentence end."""

    perplexity: float | None
    perplexity_excluding_oov: float | None
    log10_prob: float
    tokens: int
    oov: int
    sentences: int


class ScoresView(ScoreView):
    """The same for all texts together, then each."""

    model: str
    texts: list[ScoreView]
