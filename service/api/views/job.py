"""Jobs, their plans and their events as answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service import storage
from service.api.views.base import Status, View


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


class TranslatedView(View):
    """A spec that another program's model was translated to; its data set is missing."""

    spec: dict[str, Any] = Field(description="network, and what the model was compiled with: loss, optimizer.")
    input_shape: list[int | None] | None = Field(description="Of one row, as the model was told; null: any length.")
    vocabulary: int | None = Field(description="How many ids the model's embedding knows.")
    notes: list[str] = Field(description="What begins, or steps, a little otherwise than there.")


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
    warnings: list[str] = Field(description="What its plan warned of.")
    transitions: list[TransitionView]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    spec: dict[str, Any] | None = Field(description="Resolved. Null in lists, and where an answer would be too large.")

    @classmethod
    def of(cls, job: storage.Job, *, with_spec: bool = True) -> Self:
        run_id = job.run_ids[0] if len(job.run_ids) == 1 else None
        given = {name: getattr(job, name) for name in cls.model_fields if name not in ("run_id", "error", "spec")}
        given |= {
            "tags": list(job.tags),
            "run_ids": list(job.run_ids),
            "warnings": list(job.warnings),
            "transitions": list(job.transitions),
        }
        return cls(**given, run_id=run_id, error=ErrorView.of(job.error), spec=dict(job.spec) if with_spec else None)


class WebhookView(View):
    """Who is told of a job's end, and whether they have heard it. The secret stays with us."""

    url: str
    signed: bool
    status: Literal["waiting", "due", "delivered", "failed"] = Field(description="waiting: for the job's end.")
    attempts: int
    answer: int | None = Field(description="Status of the last answer.")
    error: str | None = Field(description="Why it was not heard.")
    due_at: datetime | None = Field(description="When it is told, or told again.")
    settled_at: datetime | None


class EventView(View):
    """One line of what happened; `id` is its sequence number in the store."""

    id: int
    kind: str
    job_id: str | None
    run_id: str | None
    data: dict[str, Any]
    at: datetime
