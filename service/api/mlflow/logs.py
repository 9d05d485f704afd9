"""What MLflow's clients write: runs made, logged into, tagged, ended, deleted and restored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import IdempotencyKey, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.mlflow import shapes
from service.api.mlflow.runs import one
from service.api.mlflow.shapes import Asked, Pair
from service.api.points import LARGEST, MAX_POINTS
from service.api.replies import reply
from service.errors import Fault, InvalidSpec
from service.storage import DEFAULT_EXPERIMENT, EXPERIMENT, Idempotency, Said

router = APIRouter(prefix="/runs")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Step = Annotated[int, Field(ge=0, lt=LARGEST)]


class OfRun(Asked):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """Raises InvalidSpec when none is named."""
        if not (self.run_id or self.run_uuid):
            words = "'run_id' is missing"
            raise InvalidSpec(words, faults=[Fault("/run_id", "missing", words)])
        return self.run_id or self.run_uuid


class Create(Asked):
    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: list[Pair] = []


class Update(OfRun):
    status: str = ""
    end_time: int | None = None
    run_name: str = ""


class Metric(Asked):
    key: Annotated[str, Field(min_length=1, max_length=250)]
    value: float
    timestamp: Annotated[int, Field(ge=0, lt=LARGEST)]
    step: Step = 0


class LogMetric(OfRun, Metric):
    pass


class RunPair(OfRun, Pair):
    pass


class LogBatch(OfRun):
    metrics: Annotated[list[Metric], Field(max_length=MAX_POINTS)] = []
    params: Annotated[list[Pair], Field(max_length=1_000)] = []
    tags: Annotated[list[Pair], Field(max_length=1_000)] = []


@router.post("/create")
async def create(here: Here, asked: Annotated[Create, Depends(JsonBody(Create))], key: IdempotencyKey) -> Response:
    return reply({"run": await in_thread(_create, here, asked, key)})


@router.post("/update")
async def update(here: Here, asked: Annotated[Update, Depends(JsonBody(Update))]) -> Response:
    """Ends an external run or opens it again; the name of any run."""
    return reply({"run_info": (await in_thread(_update, here, asked))["info"]})


@router.post("/log-metric")
async def log_metric(here: Here, asked: Annotated[LogMetric, Depends(JsonBody(LogMetric))]) -> Response:
    return await _said(here, asked.run, Said(series=series_of([asked])))


@router.post("/log-batch")
async def log_batch(here: Here, asked: Annotated[LogBatch, Depends(JsonBody(LogBatch, numbers=True))]) -> Response:
    """All or nothing. A step that was logged before gets its new value."""
    tags, name, notes = shapes.tags_of(asked.tags)
    return await _said(
        here, asked.run, Said(series_of(asked.metrics), _params(asked.params), tags, name=name, notes=notes)
    )


@router.post("/log-parameter")
async def log_parameter(here: Here, asked: Annotated[RunPair, Depends(JsonBody(RunPair))]) -> Response:
    return await _said(here, asked.run, Said(params={asked.key: asked.value}))


@router.post("/set-tag")
async def set_tag(here: Here, asked: Annotated[RunPair, Depends(JsonBody(RunPair))]) -> Response:
    tags, name, notes = shapes.tags_of([asked])
    return await _said(here, asked.run, Said(tags=tags, name=name, notes=notes))


@router.post("/delete-tag")
async def delete_tag(here: Here, asked: Annotated[RunPair, Depends(JsonBody(RunPair))]) -> Response:
    return await _said(here, asked.run, Said(without_tags=(asked.key,)))


@router.post("/delete")
async def delete(here: Here, asked: Annotated[OfRun, Depends(JsonBody(OfRun))]) -> Response:
    """Hides the run from MLflow's clients, until it is restored."""
    return await _said(here, asked.run, Said(tags={shapes.LIFECYCLE: "deleted"}))


@router.post("/restore")
async def restore(here: Here, asked: Annotated[OfRun, Depends(JsonBody(OfRun))]) -> Response:
    return await _said(here, asked.run, Said(without_tags=(shapes.LIFECYCLE,)))


async def _said(here: Context, run_id: str, said: Said) -> Response:
    await in_thread(here.store.runs.log, run_id, said)
    return reply({})


def _create(here: Context, asked: Create, key: Idempotency | None) -> dict[str, Any]:
    given, name, notes = shapes.tags_of(asked.tags)
    experiment = shapes.name_of(asked.experiment_id)
    tags = shapes.with_user(given, asked.user_id) | (
        {} if experiment == DEFAULT_EXPERIMENT else {EXPERIMENT: experiment}
    )
    run = here.store.runs.create_external(
        name=asked.run_name or name, notes=notes or "", started_at=shapes.moment(asked.start_time),
        tags=[f"{tag}={value}" if value else tag for tag, value in tags.items()],
        idempotency_key=key,
    )  # fmt: skip
    return one(here, run.id)


def _update(here: Context, asked: Update) -> dict[str, Any]:
    """Raises InvalidSpec for a status that there is not, Conflict for the end of a run that a worker trains."""
    store = here.store.runs
    if asked.run_name:
        store.log(asked.run, Said(name=asked.run_name))
    if asked.status in shapes.STATES:
        if store.get(asked.run).status != shapes.STATES[asked.status]:
            store.end_external(asked.run, shapes.STATES[asked.status], ended_at=shapes.moment(asked.end_time))
    elif asked.status == "RUNNING":
        store.reopen_external(asked.run)
    elif asked.status:
        allowed = ("RUNNING", *shapes.STATES)
        words = f"a run cannot be made {asked.status[:50]!r}"
        raise InvalidSpec(words, faults=[Fault("/status", "unknown_status", words, allowed=allowed)])
    return one(here, asked.run)


def _params(pairs: Sequence[Pair]) -> dict[str, str]:
    """Raises InvalidSpec for one with two values."""
    found: dict[str, str] = {}
    for place, pair in enumerate(pairs):
        if found.setdefault(pair.key, pair.value) != pair.value:
            words = f"the parameter {pair.key[:80]!r} has two values"
            raise InvalidSpec(words, faults=[Fault(f"/params/{place}", "twice", words)])
    return found


def series_of(metrics: Sequence[Metric]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[list[int], list[float], list[int]]] = {}
    for each in metrics:
        steps, values, times = found.setdefault(each.key, ([], [], []))
        steps.append(each.step)
        values.append(each.value)
        times.append(each.timestamp)
    _check_names(found)
    return found


def _check_names(names: Iterable[str]) -> None:
    """Raises InvalidSpec for a metric that our own routes would not take."""
    faults = [
        Fault("/key", "invalid_name", f"the metric's name {name[:80]!r} holds control characters")
        for name in names
        if _CONTROL.search(name)
    ]
    if faults:
        raise InvalidSpec(faults[0].message, faults=faults)
