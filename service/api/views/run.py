"""Runs as answers, and what they found at their end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import storage
from service.api.views.base import Status, View
from service.api.views.job import ErrorView
from service.api.views.metric import MetricView, PointView
from service.ngram import Cache


class MixedView(View):
    """A model of a mixture."""

    model: str
    weight: float
    val_perplexity: float | None


class TextFactsView(View):
    """What a run on a text has counted: n-grams by order; the cache that was tuned; the models of a mixture."""

    tokens: int | None
    sentences: int | None
    vocabulary: int
    ngrams: list[int] | None
    cache: Cache | None
    parts: list[MixedView] | None

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self | None:
        if "vocabulary" not in report:
            return None
        return cls.model_validate({name: report.get(name) for name in cls.model_fields})


class RepeatedView(View):
    """Whether a run that repeats another came out the same."""

    run: str = Field(description="The one that it repeats.")
    equal: bool | None = Field(description="Whether the weights are, bit for bit; null when that run was deleted.")
    expected: str | None = Field(description="The hash of that run's weights.")
    found: str | None
    receipt_differs: dict[str, list[Any]] = Field(description="By word of the receipts: that run's, and this one's.")

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self | None:
        if "verify" not in report:
            return None
        found = report["verify"]
        same = {name: found.get(name) for name in ("run", "equal", "expected", "found")}
        return cls(**same, receipt_differs=found.get("receipt_differs", {}))


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
    text: TextFactsView | None = Field(description="Of a model of n-grams.")
    verify: RepeatedView | None = Field(description="Of a run that was to repeat another, at its end; not in lists.")
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
            warnings=list(run.report.get("warnings", [])), text=TextFactsView.of(run.report),
            verify=RepeatedView.of(run.report), error=ErrorView.of(run.error),
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


PartName = Literal["all", "train", "validation", "test"]


class ClassScoresView(View):
    """How well one class is told from the others; `support`: rows that truly are of it."""

    label: str
    precision: float | None = Field(description="Right among those answered so; null when none was.")
    recall: float | None = Field(description="Right among those that are; null when none is.")
    f1: float | None
    support: int


class ConfusionView(View):
    """Counts by true class (rows) and answered class (columns), on one part of the data; and each class's scores."""

    run: str
    part: PartName
    classes: list[str]
    counts: list[list[int]]
    per_class: list[ClassScoresView]

    @classmethod
    def of(cls, run: str, found: Mapping[str, Any]) -> Self:
        counts: list[list[int]] = found["counts"]
        said = [sum(column) for column in zip(*counts, strict=True)]
        each = [_class_scores(name, row[at], said[at], sum(row))
                for at, (name, row) in enumerate(zip(found["classes"], counts, strict=True))]  # fmt: skip
        return cls(run=run, per_class=each, **found)


def _class_scores(label: str, right: int, said: int, true: int) -> ClassScoresView:
    return ClassScoresView(
        label=label, precision=right / said if said else None, recall=right / true if true else None,
        f1=2 * right / (said + true) if said + true else None, support=true,
    )  # fmt: skip


class CalibrationBinView(View):
    """Rows of about the same confidence."""

    confidence: float
    accuracy: float
    rows: int


class CalibrationView(View):
    """Whether probabilities are what they say, on one part of the data.

    `error`: the expected calibration error as answered; `tempered_error`: with `temperature`, the one asked for or the
    one that fits these rows best. Give it to predict, after an evaluation on other rows.
    """

    run: str
    part: PartName
    error: float
    temperature: float
    tempered_error: float
    bins: list[CalibrationBinView]


class FeatureWorthView(View):
    """How much the loss rises when a column is shuffled, and the deviation between repetitions."""

    feature: str
    rise: float
    deviation: float


class ImportanceView(View):
    """Permutation importance of the columns of a table, the most important first."""

    run: str
    part: PartName
    metric: str
    value: float = Field(description="As the rows are.")
    rows: int
    repetitions: int
    features: list[FeatureWorthView]


class WorstRowsView(View):
    """The rows with the largest loss, worst first, by their number in the data set."""

    run: str
    part: PartName
    rows: list[dict[str, Any]]


class LayerDiagnosisView(View):
    """One layer; what does not apply to it is null."""

    index: int
    kind: str
    parameters: int
    weight_norm: float | None
    gradient_norm: float | None = Field(description="Of the mean loss in all of the layer's weights.")
    dead_units: float | None = Field(description="Share of the units behind a ReLU that are 0 for every row.")
    saturated: float | None = Field(description="Share of a sigmoid's or tanh's outputs within 1 % of a bound.")
    gradient_by_time: list[float | None] | None = Field(
        description="Norm of the last answer's gradient in a recurrent layer's state after each step: where it "
        "vanishes, nothing can be learned from what was so long ago."
    )
    gradient_reach: int | None = Field(
        description="How many steps before the last one that gradient still has a hundredth of its largest size."
    )


class DiagnosticsView(View):
    """What the best weights look like inside, on some rows of training."""

    run: str
    rows: int
    layers: list[LayerDiagnosisView]
    findings: list[str] = Field(description="What keeps a layer from learning, in words; nothing is best.")
