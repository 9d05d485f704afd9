"""Jobs made from a job: gone on from one of its checkpoints otherwise, or run again and compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service import specs
from service.api.bodies import Body, IdempotencyKey, JsonBody
from service.api.context import Context, Here
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses
from service.api.submit import submitted
from service.api.views.job import JobView
from service.errors import Conflict, Draining, InvalidData, InvalidSpec, NotFound, QueueFull, StorageFull, TooLarge
from service.specs import Job, Label, Priority
from service.storage import Run

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Step = Annotated[int, Field(ge=1, le=2**40)]


class Again(Body):
    """How to call the new job, and from which checkpoint it starts (GET runs/{id}/checkpoints lists their steps)."""

    step: Step | None = None
    name: Label | None = None
    tags: Annotated[list[Label], Field(max_length=50)] | None = None
    priority: Priority = 0


class Fork(Again):
    """What is to be otherwise: a JSON merge patch (RFC 7396) of the job's spec; null takes a word away.

    Data, layers, loss, batch size and seed are what the state was made with and must stay. Without a step the newest
    checkpoint is taken.
    """

    spec: dict[str, Any] = {}


class Verify(Again):
    """Without a step the job is repeated whole, otherwise from that checkpoint on."""


_REFUSALS = refuses(
    InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia, QueueFull, Draining, StorageFull
)


@router.post("/{job_id}/fork", status_code=202, response_model=JobView, responses=_REFUSALS)
async def fork(
    here: Here, job_id: str, asked: Annotated[Fork, Depends(JsonBody(Fork))], key: IdempotencyKey
) -> Response:
    """A new job that goes on from a checkpoint of this one with some words changed: longer, another learning rate."""
    with _asked_here():
        return await submitted(
            here, key, lambda: _worded(specs.fork(_run(here, job_id), asked.spec, asked.step), asked)
        )


@router.post("/{job_id}/verify", status_code=202, response_model=JobView, responses=_REFUSALS)
async def verify(
    here: Here, job_id: str, asked: Annotated[Verify, Depends(JsonBody(Verify, optional=True))], key: IdempotencyKey
) -> Response:
    """A new job that trains this one again and tells in its run, under `verify`, whether the weights came out equal."""
    with _asked_here():
        return await submitted(here, key, lambda: _worded(specs.verify(_run(here, job_id), asked.step), asked))


def _run(here: Context, job_id: str) -> Run:
    job = here.store.jobs.get(job_id)
    if len(job.run_ids) != 1:
        raise Conflict(f"a {job.type} has many runs", hint="Submit the spec of one of them as a job of type train.")
    return here.store.runs.get(job.run_ids[0])


def _worded(document: dict[str, Any], asked: Again) -> Job:
    given = {"name": asked.name, "tags": asked.tags}
    document |= {word: value for word, value in given.items() if value is not None} | {"priority": asked.priority}
    return specs.parse(document)


@contextmanager
def _asked_here() -> Iterator[None]:
    """Faults of the checkpoint are told where this request names it."""
    try:
        yield
    except InvalidSpec as error:
        faults = [replace(each, pointer=each.pointer.replace("/spec/go_on_from/", "/")) for each in error.faults]
        raise InvalidSpec(error.message, hint=error.hint, faults=faults) from error
