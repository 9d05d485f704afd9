"""Is it alive, is it ready, and what is the machine doing."""

from __future__ import annotations

import platform

from fastapi import APIRouter
from starlette.responses import Response

from service import __version__, clock, config
from service.api.context import Here
from service.api.replies import refuses, reply
from service.api.views.operation import HealthView, SystemView
from service.errors import Draining, StorageBusy

router = APIRouter(tags=["operations"])
_BEGAN_S = clock.monotonic_s()


@router.get("/health/live", response_model=HealthView, responses=refuses())
async def live(here: Here) -> Response:
    """The process answers."""
    return reply(HealthView(status="ok", workers=here.workers(), version=__version__))


@router.get("/health/ready", response_model=HealthView, responses=refuses(Draining, StorageBusy))
async def ready(here: Here) -> Response:
    """The store answers, and jobs are taken."""
    here.check_open()
    here.store.events.latest_id()
    return reply(HealthView(status="ok", workers=here.workers(), version=__version__))


@router.get("/v1/system", response_model=SystemView, responses=refuses(StorageBusy))
async def system(here: Here) -> Response:
    """The machine and what the service does with it."""
    counts = here.store.jobs.counts()
    view = SystemView(
        version=__version__, python=platform.python_version(), cores=config.cores(), workers=here.workers(),
        jobs_queued=counts.get("queued", 0), jobs_running=counts.get("running", 0), models_loaded=len(here.registry),
        models_bytes=here.registry.bytes, uptime_s=clock.monotonic_s() - _BEGAN_S,
    )  # fmt: skip
    return reply(view)
