"""A model's card: all that someone should know who did not train it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.api.views.base import View
from service.api.views.job import LayerView
from service.api.views.model import AncestorsView
from service.api.views.run import ClassScoresView


class FeatureView(View):
    """One thing that a row consists of."""

    name: str
    type: str
    shape: list[int]


class CardDataView(View):
    """What it learned from."""

    id: str | None
    name: str | None
    kind: str | None
    rows: int | None
    sha256: str | None
    features: list[FeatureView] = Field(description="What a row consists of, in order; none of a text.")
    target: list[str]
    classes: list[str] | None
    validation: Any = Field(description="The share of the rows held back, or the data set that served.")
    test: Any
    split_seed: int | None


class CardTrainingView(View):
    """How it learned."""

    settings: dict[str, Any] = Field(description="Loss, optimizer and the like, as the resolved spec says them.")
    stopped_by: str | None
    best_step: int | None
    seconds: float | None


class CardPartView(View):
    """How well it tells the classes of one part of the data."""

    part: str
    per_class: list[ClassScoresView]


class CardEvaluationView(View):
    """What an evaluation found."""

    run_id: str
    dataset_id: str | None
    part: str | None
    scores: dict[str, float | None]
    at: datetime | None


class CardView(View):
    """A model's card, generated from its record."""

    model: str = Field(description="The very version, or the run.")
    kind: Literal["network", "ngram"]
    predicts: str
    note: str
    tags: list[str]
    aliases: list[str] = Field(description="That point at this version now.")
    created_at: datetime
    scores: dict[str, float | None]
    held_back: CardPartView | None
    evaluations: list[CardEvaluationView]
    data: CardDataView
    layers: list[LayerView]
    parameters: int
    training: CardTrainingView
    warnings: list[str]
    lineage: AncestorsView
    receipt: dict[str, Any] | None = Field(description="What decides its bits: data, engine, linear algebra.")
    weights_sha256: str | None
    file_sha256: str
    file_bytes: int
    example: str = Field(description="A request that it answers.")
