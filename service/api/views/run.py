"""Runs as answers, and what they found at their end."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import storage
from service.api.views.base import Status, View
from service.api.views.job import ErrorView
from service.api.views.metric import MetricView, PointView


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
