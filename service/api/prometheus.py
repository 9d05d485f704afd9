"""What Prometheus scrapes: the queue, the runs, the predictions, the store and the processes, all of this folder's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from fastapi import APIRouter
from starlette.responses import Response

from service import __version__
from service.api.context import Context, Here, in_thread
from service.api.exposition import MEDIA_TYPE, Labels, family, histogram
from service.api.replies import Documented, refuses
from service.api.views.base import Status
from service.errors import StorageBusy
from service.storage import Timed

router = APIRouter(tags=["operations"])
_PREDICTIONS: tuple[Timed, ...] = ("predict", "infer", "completions")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TEXT: Documented = {
    200: {"description": "Text, version 0.0.4", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", response_class=Response, responses=refuses(StorageBusy, also=_TEXT))
async def metrics(here: Here) -> Response:
    """For Prometheus. Whichever server process answers, it tells of all of them and of the workers."""
    return Response(await in_thread(lambda: "".join(_lines(here))), media_type=MEDIA_TYPE)


def _lines(here: Context) -> Iterator[str]:
    yield from family("netwright_build_info", "gauge", "The version, in a label.", [({"version": __version__}, 1)])
    yield from _work(here)
    timings = here.store.tally.read()
    yield from histogram(
        "netwright_prediction_duration_seconds", "From a request for a prediction to the end of its answer, by route.",
        [({"route": name}, timings[name]) for name in _PREDICTIONS],
    )  # fmt: skip
    yield from histogram(
        "netwright_store_commit_duration_seconds", "Commits of servers and workers, until they are on the disk.",
        [({}, timings["commit"])],
    )  # fmt: skip
    yield from _resources(here)


def _work(here: Context) -> Iterator[str]:
    jobs, runs = here.store.jobs.counts(), here.store.runs.counts()
    by_state: list[tuple[Labels, float]] = [({"status": each}, runs.get(each, 0)) for each in get_args(Status)]
    yield from family("netwright_queue_depth", "gauge", "Jobs that wait for a worker.", [({}, jobs.get("queued", 0))])
    yield from family("netwright_runs", "gauge", "Runs by state, external ones too.", by_state)
    yield from family(
        "netwright_workers_busy", "gauge", "Workers that have a run.", [({}, here.store.runs.busy_workers())]
    )
    yield from family(
        "netwright_training_rows_per_second", "gauge", "All workers together, each as of its last epoch.",
        [({}, here.store.runs.rows_per_s())],
    )  # fmt: skip
    yield from family(
        "netwright_events_total", "counter", "Events written to the store.", [({}, here.store.events.latest_id())]
    )


def _resources(here: Context) -> Iterator[str]:
    memory = [
        ({"kind": each.kind, "pid": str(each.pid)}, resident)
        for each in here.store.tally.processes()
        if (resident := _resident_bytes(each.pid)) is not None
    ]
    yield from family("netwright_process_resident_memory_bytes", "gauge", "Of each server and worker.", memory)
    loaded: list[tuple[Labels, float]] = [({}, here.registry.bytes)]
    yield from family("netwright_models_loaded_bytes", "gauge", "In the process that answers.", loaded)
    free = shutil.disk_usage(here.settings.data_dir).free
    yield from family("netwright_disk_free_bytes", "gauge", "Where the data folder lies.", [({}, free)])


def _resident_bytes(pid: int) -> int | None:
    """As the kernel counts it; None where it does not tell, or the process has just left."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return None
