"""Models and their predictions as answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import storage
from service.api.views.base import View


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


class DetailedPredictionView(View):
    """One of these with what was asked of it beside; a member stands where it was asked for."""

    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None
    values: dict[str, float | None] | None = None
    logits: dict[str, float | None] | None = Field(default=None, description="By class; of two, the second's alone.")
    layers: dict[str, Any] | None = Field(default=None, description="What layers gave, by the name they were asked by.")


class PredictionsView(View):
    """One prediction a row, in the rows' order; `model` is the version that made them."""

    model: str
    predictions: list[ClassPredictionView | ValuePredictionView | ValuesPredictionView | DetailedPredictionView]
