"""Runs: found, described, renamed, and what they left behind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from service import storage
from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.external import Label, Tag
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import ListQuery, listed, refuses, reply, tag_of, unchanged
from service.api.views.base import ListView, Status
from service.api.views.run import (
    CalibrationView,
    CheckpointView,
    ConfusionView,
    DiagnosticsView,
    ImportanceView,
    RunView,
    WorstRowsView,
)
from service.errors import NotFound

router = APIRouter(prefix="/v1/runs", tags=["runs"])


class RunsQuery(ListQuery):
    """Which runs, in which order."""

    status: Status | None = None
    type: Literal["train", "ngram", "arpa", "mixture", "search", "evaluate", "external"] | None = None
    tag: Annotated[str | None, Query(max_length=200)] = None
    name: Annotated[str | None, Query(max_length=200)] = None
    dataset: Annotated[str | None, Query(max_length=100, description="A data set's id.")] = None
    job: Annotated[str | None, Query(max_length=100, description="A job's id.")] = None
    filter: Annotated[
        str | None,
        Query(
            max_length=4_000,
            description="As MLflow's: metrics.val_accuracy > 0.9 and params.optimizer = 'adam' and tags.team = 'x'",
        ),
    ] = None
    metric: Annotated[
        list[str], Query(max_length=20, description="Bounds, all of which hold: val_loss<0.1, best.val_accuracy>=0.9")
    ] = []
    spec: Annotated[
        list[str], Query(max_length=20, description="The same for fields of the spec: optimizer.kind=adam")
    ] = []
    sort: Annotated[
        str,
        Query(
            max_length=300,
            description="created_at, started_at, ended_at, name, status; best, last, first, min, max of a metric; spec "
            "and a field; - for descending: -best.val_accuracy, spec.optimizer.learning_rate",
        ),
    ] = "-created_at"


class RunPatch(Body):
    """What people may change of a run. What is not given stays."""

    name: Label | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] | None = None
    notes: Annotated[str, Field(max_length=20_000)] | None = None


@router.get("", response_model=ListView[RunView], responses=refuses())
async def list_runs(here: Here, query: Annotated[RunsQuery, Query()]) -> Response:
    """Filtered and sorted; runs without what they are sorted by come last. Pages stay right while runs come in."""
    wanted = query.model_dump()
    for ours, theirs in (("dataset", "dataset_id"), ("job", "job_id"), ("metric", "metrics"), ("spec", "specs")):
        wanted[theirs] = wanted.pop(ours)
    return listed(await in_thread(here.store.runs.list, **wanted), RunView.of)


@router.get(
    "/{run_id}", response_model=RunView, responses=refuses(NotFound, also={304: {"description": "Not Modified"}})
)
async def get_run(here: Here, run_id: str, request: Request) -> Response:
    """The record of one training."""
    tag = tag_of(here.store.runs.revision(run_id))
    return unchanged(request, tag) or reply(RunView.of(here.store.runs.get(run_id)), headers={"ETag": tag})


@router.patch("/{run_id}", response_model=RunView, responses=refuses(InvalidJson, NotFound, UnsupportedMedia))
async def patch_run(here: Here, run_id: str, asked: Annotated[RunPatch, Depends(JsonBody(RunPatch))]) -> Response:
    """Changes name, tags or notes."""
    return reply(RunView.of(await in_thread(here.store.runs.patch, run_id, **asked.model_dump())))


@router.get("/{run_id}/checkpoints", response_model=ListView[CheckpointView], responses=refuses(NotFound))
async def checkpoints(here: Here, run_id: str) -> Response:
    """The published states, newest first."""
    here.store.runs.get(run_id)
    found = here.store.runs.checkpoints(run_id)
    return listed(storage.Page(found, None), CheckpointView.of)


@router.get("/{run_id}/confusion", response_model=ConfusionView, responses=refuses(NotFound))
async def confusion(here: Here, run_id: str) -> Response:
    """Which classes were taken for which on the rows held back, or those evaluated, and how well each is told."""
    return reply(ConfusionView.of(run_id, _found(here, run_id, "confusion")))


@router.get("/{run_id}/calibration", response_model=CalibrationView, responses=refuses(NotFound))
async def calibration(here: Here, run_id: str) -> Response:
    """Whether the probabilities of an evaluated model of classes are what they say."""
    return reply({"run": run_id, **_found(here, run_id, "calibration")})


@router.get("/{run_id}/importance", response_model=ImportanceView, responses=refuses(NotFound))
async def importance(here: Here, run_id: str) -> Response:
    """What each column is worth to an evaluated model of a table, when the evaluation was asked for it."""
    return reply({"run": run_id, **_found(here, run_id, "importance")})


@router.get("/{run_id}/worst-rows", response_model=WorstRowsView, responses=refuses(NotFound))
async def worst_rows(here: Here, run_id: str) -> Response:
    """The rows held back that the model liked least, with their ids in the data set."""
    return reply({"run": run_id, **_found(here, run_id, "worst_rows")})


@router.get("/{run_id}/diagnostics", response_model=DiagnosticsView, responses=refuses(NotFound))
async def diagnostics(here: Here, run_id: str) -> Response:
    """The best weights layer by layer: norms, gradients, dead and saturated units, and the gradient by time step."""
    found = _found(here, run_id, "diagnostics")
    layers = [{"gradient_reach": None, **layer} for layer in found["layers"]]  # of runs older than the field, too
    return reply({"run": run_id, "findings": [], **found, "layers": layers})


_WHENCE = {
    "confusion": "Models of classes have one, of rows held back (dataset.validation, dataset.test) or evaluated.",
    "worst_rows": "Hold rows back: dataset.validation or dataset.test; or evaluate the model on some.",
    "importance": 'Submit {"type": "evaluate", "spec": {"model": ..., "importance": 5}}, of a model of a table.',
    "calibration": 'Submit {"type": "evaluate", "spec": {"model": ...}}, of a model of classes.',
}


def _found(here: Context, run_id: str, name: str) -> dict[str, Any]:
    """A part of what the run found at its end. Raises NotFound."""
    run = here.store.runs.get(run_id)
    part = run.report.get(name)
    if part is None:
        hint = _WHENCE.get(name) if run.status in storage.FINAL else "It comes when the run ends."
        raise NotFound(f"{run_id} has no {name.replace('_', ' ')}", hint=hint)
    return part if isinstance(part, dict) else {"rows": part}
