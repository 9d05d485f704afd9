"""External runs: trained by other programs, kept here beside our own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, IdempotencyKey, JsonBody, MediaBody, Sent
from service.api.context import Here, in_thread
from service.api.points import Measured, from_json, from_npy
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.metric import LoggedView
from service.api.views.run import RunView
from service.errors import Conflict, InvalidData, NotFound, StorageFull, TooLarge
from service.serving import NPY_TYPE

router = APIRouter(prefix="/v1/runs", tags=["runs"])
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tag = Annotated[str, Field(min_length=1, max_length=8_000, pattern=r"^[^\x00]+$")]


class NewRun(Body):
    """A run that another program trains. `spec` is whatever describes it: runs are found and compared by its fields."""

    type: Literal["external"]
    name: Label | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] = []
    notes: Annotated[str, Field(max_length=20_000)] = ""
    spec: dict[str, Any] = {}
    dataset_id: Annotated[str, Field(max_length=100)] | None = None


class ErrorBody(Body):
    """Why a run failed."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")] = "failed"
    message: Annotated[str, Field(min_length=1, max_length=2_000)]


class End(Body):
    """How it ended."""

    status: Literal["succeeded", "failed", "cancelled"]
    error: ErrorBody | None = None


@router.post(
    "", status_code=201, response_model=RunView, responses=refuses(InvalidJson, UnsupportedMedia, StorageFull),
)  # fmt: skip
async def create(here: Here, asked: Annotated[NewRun, Depends(JsonBody(NewRun))], key: IdempotencyKey) -> Response:
    """A run to log into, running at once; other runs come from jobs. Its address is in Location."""
    given = asked.model_dump(exclude={"type"})
    run = await in_thread(lambda: here.store.runs.create_external(**given, idempotency_key=key))
    return reply(RunView.of(run), 201, {"Location": f"/v1/runs/{run.id}"})


@router.post(
    "/{run_id}/metrics", response_model=LoggedView,
    responses=refuses(InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia, StorageFull),
)  # fmt: skip
async def log_metrics(
    here: Here, run_id: str,
    sent: Annotated[Measured | Sent, Depends(MediaBody(JsonBody(Measured, numbers=True), (NPY_TYPE,)))],
) -> Response:  # fmt: skip
    """Logs into a running external run; durable when it is answered. A step written again gets its new value.

    `application/x-npy`: a structured array with the field `step`, perhaps `time` (milliseconds), and one a metric.
    """
    points = from_json(sent) if isinstance(sent, Measured) else from_npy(sent.body)
    await in_thread(here.store.metrics.append, run_id, points)
    return reply({"run": run_id, "points": sum(len(steps) for steps, *_ in points.values())})


@router.post(
    "/{run_id}/end", response_model=RunView, responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia)
)
async def end(here: Here, run_id: str, asked: Annotated[End, Depends(JsonBody(End))]) -> Response:
    """Ends an external run, which takes no metrics from then on."""
    error = None if asked.error is None else asked.error.model_dump()
    return reply(RunView.of(await in_thread(here.store.runs.end_external, run_id, asked.status, error)))


@router.delete("/{run_id}", status_code=204, response_class=Response, responses=refuses(NotFound, Conflict))
async def delete(here: Here, run_id: str) -> Response:
    """Forgets an ended external run with its metrics; other runs go with their jobs."""
    await in_thread(here.store.runs.delete_external, run_id)
    return Response(status_code=204)
