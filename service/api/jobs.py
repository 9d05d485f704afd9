"""Jobs: submitted, listed, asked to stop."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from service.api.bodies import IdempotencyKey, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import ListQuery, listed, refuses, reply
from service.api.submit import submitted
from service.api.views.base import ListView, Status
from service.api.views.job import JobView, WebhookView
from service.errors import Conflict, Draining, InvalidData, NotFound, QueueFull, StorageFull, TooLarge
from service.specs import Job, JobRequest, parse

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Asked = Annotated[Job, Depends(JsonBody(JobRequest, parse))]


class JobsQuery(ListQuery):
    """Which jobs."""

    status: Status | None = None
    type: Literal["train", "ngram", "arpa", "mixture", "search", "evaluate"] | None = None
    tag: Annotated[str | None, Query(max_length=200)] = None
    name: Annotated[str | None, Query(max_length=200)] = None


@router.post(
    "", status_code=202, response_model=JobView,
    responses=refuses(InvalidJson, InvalidData, TooLarge, UnsupportedMedia, QueueFull, Draining, StorageFull),
)  # fmt: skip
async def submit(here: Here, asked: Asked, key: IdempotencyKey) -> Response:
    """Checks everything, then puts the job into the queue. The address to watch is in Location."""
    return await submitted(here, key, lambda: asked)


@router.get("", response_model=ListView[JobView], responses=refuses())
async def list_jobs(here: Here, query: Annotated[JobsQuery, Query()]) -> Response:
    """Newest first, without their specs."""
    return listed(here.store.jobs.list(**query.model_dump()), lambda job: JobView.of(job, with_spec=False))


@router.get("/{job_id}", response_model=JobView, responses=refuses(NotFound))
async def get_job(here: Here, job_id: str) -> Response:
    """The job as it stands."""
    return reply(JobView.of(here.store.jobs.get(job_id)))


@router.get("/{job_id}/webhook", response_model=WebhookView, responses=refuses(NotFound))
async def get_webhook(here: Here, job_id: str) -> Response:
    """Who is told of the job's end, and whether they have heard it."""
    return reply(WebhookView.model_validate(here.store.webhooks.get(job_id)))


@router.delete("/{job_id}", status_code=204, response_class=Response, responses=refuses(NotFound, Conflict))
async def delete_job(here: Here, job_id: str) -> Response:
    """Forgets an ended job with its runs, metrics and events."""
    await in_thread(here.store.jobs.delete, job_id)
    return Response(status_code=204)


@router.post("/{job_id}/cancel", response_model=JobView, responses=refuses(NotFound, Conflict))
async def cancel(here: Here, job_id: str) -> Response:
    """Asks the job to end; what it has learned stays usable. Asking again changes nothing."""
    return await _stop(here, job_id, "cancel")


@router.post("/{job_id}/pause", response_model=JobView, responses=refuses(NotFound, Conflict))
async def pause(here: Here, job_id: str) -> Response:
    """Asks the job to stop at a checkpoint and wait."""
    return await _stop(here, job_id, "pause")


@router.post("/{job_id}/resume", response_model=JobView, responses=refuses(NotFound, Conflict, Draining))
async def resume(here: Here, job_id: str) -> Response:
    """Puts a paused job back at its place in the queue; it goes on bit for bit where it stopped."""
    here.check_open()
    job = await in_thread(here.store.jobs.resume, job_id)
    here.wake()
    return reply(JobView.of(job))


async def _stop(here: Context, job_id: str, how: Literal["cancel", "pause"]) -> Response:
    job = await in_thread(here.store.jobs.request_stop, job_id, how)
    here.wake()
    return reply(JobView.of(job))
