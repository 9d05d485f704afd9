"""What the trials of a search came to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.api.views.base import Status, View


class TrialView(View):
    """One training of a search."""

    run_id: str
    status: Status
    fold: int | None = Field(description="Which fold was held back, from 0; null without folds.")
    stopped_by: str | None = Field(description="epochs, early_stopping, halving, ...; null while it is not at its end.")
    scores: dict[str, float | None] = Field(description="Of the weights that were kept: the best of the training.")


class SpreadView(View):
    """One score over the trials that succeeded."""

    n: int = Field(description="How many have it.")
    mean: float | None
    std: float | None = Field(description="Sample standard deviation (n - 1); null of fewer than two.")
    min: float | None
    max: float | None


class CandidateView(View):
    """What was tried, and how it did on each fold."""

    values: dict[str, Any] = Field(description="By field of the training's spec; empty where folds alone were asked.")
    metrics: dict[str, SpreadView]
    trials: list[TrialView]


class TrialsView(View):
    """The trials of a search as they stand, computed from its runs whenever it is asked for."""

    job_id: str
    status: Status
    monitor: str
    direction: Literal["min", "max"] | None
    best: int | None = Field(
        description="Place in `candidates` of the one with the best mean of `monitor`, of those all of whose trials "
        "succeeded."
    )
    candidates: list[CandidateView]
