"""Metrics: a summary in one look, series in columns, many runs in one call."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import Documented, encode, refuses, reply
from service.api.views.metric import MetricsView, MetricView, QueryView, RunSeriesView
from service.errors import NotFound
from service.storage import Series

router = APIRouter(prefix="/v1", tags=["metrics"])
Reduce = Literal["minmax", "last", "mean"]
Step = Annotated[int, Field(ge=0, lt=1 << 62)]
_TEXT = {"schema": {"type": "string"}}
_FORMATS: Documented = {200: {"description": "As asked", "content": {"text/csv": _TEXT, "application/x-ndjson": _TEXT}}}


class SeriesQuery(BaseModel):
    """Which points of which series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Annotated[
        str | None, Query(max_length=4_000, description="Metric names with commas between; all without.")
    ] = None
    from_step: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None
    to_step: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None
    max_points: Annotated[int | None, Query(ge=2, le=1_000_000)] = None
    reduce: Annotated[Reduce, Query(description="How to come down to max_points; minmax keeps every spike.")] = "minmax"
    format: Literal["json", "csv", "ndjson"] = "json"


class MetricsQuery(Body):
    """The same for several runs at once."""

    runs: Annotated[list[str], Field(min_length=1, max_length=1_000)]
    names: Annotated[list[str], Field(max_length=100)] | None = None
    from_step: Step | None = None
    to_step: Step | None = None
    max_points: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    reduce: Reduce = "minmax"


@router.get("/runs/{run_id}/metrics", response_model=MetricsView, responses=refuses(NotFound))
async def summary(here: Here, run_id: str) -> Response:
    """Of every metric: first, last, min, max, best, and the steps they stand at."""
    run = here.store.runs.get(run_id)
    return reply({"run": run_id, "metrics": {name: MetricView.of(each) for name, each in run.summary.items()}})


@router.get(
    "/runs/{run_id}/metrics/series", response_model=RunSeriesView,
    responses=refuses(NotFound, also=_FORMATS),
)  # fmt: skip
async def series(here: Here, run_id: str, query: Annotated[SeriesQuery, Query()]) -> Response:
    """Points in columns; the same question gives the same answer twice."""
    here.store.runs.get(run_id)
    wanted = query.model_dump(exclude={"format", "names"})
    names = None if query.names is None else [name for name in query.names.split(",") if name]
    return await in_thread(_answer, here, run_id, query.format, {"names": names, **wanted})


@router.post("/metrics/query", response_model=QueryView, responses=refuses(InvalidJson, NotFound, UnsupportedMedia))
async def query(here: Here, asked: Annotated[MetricsQuery, Depends(JsonBody(MetricsQuery))]) -> Response:
    """Many runs, many names, one call."""
    return await in_thread(_query, here, asked)


def _query(here: Context, asked: MetricsQuery) -> Response:
    wanted = asked.model_dump(exclude={"runs"})
    for run_id in asked.runs:
        here.store.runs.get(run_id)
    found = [{"run": run_id, "series": _columns(here.store.metrics.series(run_id, **wanted))} for run_id in asked.runs]
    return reply({"data": found})


def _answer(here: Context, run_id: str, format: str, wanted: Mapping[str, Any]) -> Response:
    found = here.store.metrics.series(run_id, **wanted)
    if format == "csv":
        return Response(_csv(found), media_type="text/csv; charset=utf-8")
    if format == "ndjson":
        return Response(b"".join(_lines(found)), media_type="application/x-ndjson")
    return reply({"run": run_id, "series": _columns(found)})


def _columns(found: Mapping[str, Series]) -> dict[str, dict[str, Any]]:
    return {name: _column(each) for name, each in found.items()}


def _column(series: Series) -> dict[str, Any]:
    values: list[float | None] = series.values.tolist()
    nonfinite = []
    for i in np.flatnonzero(~np.isfinite(series.values)).tolist():
        nonfinite.append({"step": int(series.steps[i]), "value": _word(series.values[i])})
        values[i] = None
    return {
        "steps": series.steps.tolist(), "values": values, "times": series.times.tolist(), "nonfinite": nonfinite,
        "count": series.n, "reduced": series.reduced,
    }  # fmt: skip


def _word(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _points(found: Mapping[str, Series]) -> Iterator[tuple[str, int, float, int]]:
    for name, each in found.items():
        for step, value, time in zip(each.steps.tolist(), each.values.tolist(), each.times.tolist(), strict=True):
            yield name, step, value, time


def _csv(found: Mapping[str, Series]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "step", "value", "time"))
    writer.writerows(_points(found))
    return text.getvalue()


def _lines(found: Mapping[str, Series]) -> Iterator[bytes]:
    for name, step, value, time in _points(found):
        odd = {} if np.isfinite(value) else {"nonfinite": _word(value)}
        yield encode({"name": name, "step": step, "value": value, "time": time} | odd) + b"\n"
