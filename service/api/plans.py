"""Plans: a job's shapes, parameters, memory and time, with nothing stored and nothing begun."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.job import PlanView
from service.errors import InvalidData, TooLarge
from service.specs import Job, JobRequest, admit, parse

router = APIRouter(prefix="/v1/plans", tags=["jobs"])
Asked = Annotated[Job, Depends(JsonBody(JobRequest, parse))]


@router.post("", response_model=PlanView, responses=refuses(InvalidJson, InvalidData, TooLarge, UnsupportedMedia))
async def plan(here: Here, asked: Asked) -> Response:
    """A dry run: the same checks as a submit, and what the job would take."""
    admitted = await in_thread(admit, asked, here.store, here.settings.max_model_bytes)
    view = {**asdict(admitted.plan), "type": asked.type, "spec": admitted.spec}
    return reply(PlanView.model_validate(view))
