"""Models and their predictions as answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import serving, storage
from service.api.views.base import View


class VersionView(View):
    """A version of a model: a numbered pointer at a run's weights."""

    name: str
    version: int
    run_id: str
    dataset_id: str | None
    scores: dict[str, float | None] = Field(description="On the rows held back: val_... the best, test_... at the end.")
    sha256: str
    note: str
    created_at: datetime

    @classmethod
    def of(cls, row: storage.ModelVersion, run: storage.Run) -> Self:
        same = ("name", "version", "run_id", "note", "created_at")
        given = {name: getattr(row, name) for name in same}
        return cls(sha256=row.blob, dataset_id=run.dataset_id, scores=scores_of(run), **given)


def scores_of(run: storage.Run) -> dict[str, float | None]:
    """What a run reached on the rows held back."""
    held = {name: each for name, each in run.summary.items() if name.startswith(("val_", "test_"))}
    return {name: (each["best"] or each["last"] or {"value": None})["value"] for name, each in held.items()}


class AliasMoveView(View):
    """One move of an alias; `version` is null where it was taken away."""

    alias: str
    version: int | None
    at: datetime


class ComparisonView(View):
    """The figures of the version that an alias moves to and of the one it leaves."""

    metric: str
    dataset_id: str
    new: float | None
    old: float | None


class MovedView(AliasMoveView):
    """A move just made; `compared` when it was to be for the better only."""

    compared: ComparisonView | None


class AncestorsView(View):
    """What a model was made of and from."""

    run_id: str
    job_id: str | None
    dataset_id: str | None
    dataset_name: str | None
    dataset_sha256: str | None
    go_on_from: dict[str, Any] | None = Field(description="The run and step that its training went on from.")
    initial_weights: str | None = Field(description="The weights that its training began with.")
    evaluations: list[str] = Field(description="Runs of type evaluate on exactly these weights.")


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
    """The same with its record, its versions, newest first, and where its aliases point and pointed."""

    scores: dict[str, float | None]
    spec: dict[str, Any] = Field(description="Of the run that made it, resolved.")
    lineage: AncestorsView
    versions: list[VersionView]
    aliases: dict[str, int]
    history: list[AliasMoveView]


class ModelsView(View):
    """All models by name, as OpenAI's list with our cursors."""

    object: Literal["list"]
    data: list[ModelView]
    has_more: bool
    next: str | None


class ClassPredictionView(View):
    """The likeliest class, and how likely each is (the `top_k` likeliest, when that was asked)."""

    label: str
    probability: float
    probabilities: dict[str, float]


class LabelsPredictionView(View):
    """Of several labels those that are likelier than not, and how likely each is, likeliest first."""

    labels: list[str]
    probabilities: dict[str, float]


class ValuePredictionView(View):
    """A number, in the target's own units."""

    value: float | None = Field(description="Null when it is not finite.")


class ValuesPredictionView(View):
    """Several numbers, by target."""

    values: dict[str, float | None]


class DetailedPredictionView(View):
    """One of these with what was asked of it beside; a member stands where it was asked for."""

    label: str | None = None
    labels: list[str] | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None
    values: dict[str, float | None] | None = None
    logits: dict[str, float | None] | None = Field(default=None, description="By class; of two, the second's alone.")
    layers: dict[str, Any] | None = Field(default=None, description="What layers gave, by the name they were asked by.")


class PredictionsView(View):
    """One prediction a row, in the rows' order; `model` is the version that made them."""

    model: str
    predictions: list[
        ClassPredictionView | LabelsPredictionView | ValuePredictionView | ValuesPredictionView | DetailedPredictionView
    ]


class AttributionView(View):
    """What each feature adds to one number of the answer; together they are `answer` - `baseline`, but for `gap`."""

    target: str
    answer: float
    baseline: float = Field(description="The answer to the average row, without any words; to a black picture.")
    gap: float
    features: dict[str, Any] = Field(description="A number for a number or a word, nested lists for an array.")

    @classmethod
    def of(cls, found: serving.Attributions) -> Self:
        return cls(
            target=found.target, answer=found.answer, baseline=found.baseline, gap=found.gap, features=found.features
        )


class AttributionsView(View):
    """One a row, in the rows' order; `model` is the version that was asked."""

    model: str
    attributions: list[AttributionView]
