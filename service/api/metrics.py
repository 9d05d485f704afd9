"""Metrics: a summary in one look, series in columns, many runs in one call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api import curves
from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.digits import MOST, shortened
from service.api.points import Step
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import Documented, encode, refuses, reply, tag_of, unchanged, zipped
from service.api.views.metric import MetricsView, MetricView, QueryView, RunSeriesView
from service.errors import Fault, InvalidSpec, NotFound, TooLarge, did_you_mean
from service.storage import News, Reduce

router = APIRouter(prefix="/v1", tags=["metrics"])
Column = Literal["times", "epochs", "rows_per_s"]
_MAX_POINTS = {"ge": 5, "le": 1_000_000}
_TEXT = {"schema": {"type": "string"}}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FORMATS: Documented = {
    200: {
        "description": "As asked",
        "content": {"text/csv": _TEXT, "application/x-ndjson": _TEXT, "application/zip": _BYTES},
    },
    304: {"description": "Not Modified"},
}


class SeriesQuery(BaseModel):
    """Which points of which series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Annotated[
        str | None,
        Query(
            max_length=16_000,
            description="Metric names with commas between; all without. A name that the run does not have is left out.",
        ),
    ] = None
    from_step: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None
    to_step: Annotated[int | None, Query(ge=0, lt=1 << 62, description="Both ends belong to the range.")] = None
    max_points: Annotated[int | None, Query(**_MAX_POINTS)] = None
    reduce: Annotated[Reduce, Query(description="How to come down to max_points; minmax keeps every spike.")] = "minmax"
    columns: Annotated[
        str, Query(max_length=100, description="Beside steps and values: times, epochs, rows_per_s, commas between.")
    ] = "times"
    digits: Annotated[
        int | None, Query(ge=1, le=MOST, description="Significant digits of the values; without, they are exact.")
    ] = None
    after: Annotated[
        str | None,
        Query(max_length=32_000, description="`next` of the answer before: only what is new since then comes."),
    ] = None
    format: Annotated[Literal["json", "csv", "ndjson", "npz"], Query(description="npz: arrays for numpy.load.")] = (
        "json"
    )


class MetricsQuery(Body):
    """The same for several runs at once."""

    runs: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=1_000)]
    names: Annotated[list[str], Field(max_length=100)] | None = None
    from_step: Step | None = None
    to_step: Step | None = None
    max_points: Annotated[int, Field(**_MAX_POINTS)] | None = None
    reduce: Reduce = "minmax"
    columns: Annotated[list[Column], Field(max_length=3)] = ["times"]
    digits: Annotated[int, Field(ge=1, le=MOST)] | None = None
    after: Annotated[dict[str, Annotated[str, Field(max_length=500_000)]], Field(max_length=1_000)] = {}


@router.get(
    "/runs/{run_id}/metrics", response_model=MetricsView,
    responses=refuses(NotFound, also={304: {"description": "Not Modified"}}),
)  # fmt: skip
async def summary(here: Here, run_id: str, request: Request) -> Response:
    """Of every metric: first, last, min, max, best, and the steps they stand at."""
    tag = tag_of(here.store.runs.revision(run_id))
    if (same := unchanged(request, tag)) is not None:
        return same
    run = here.store.runs.get(run_id)
    metrics = {name: MetricView.of(each) for name, each in run.summary.items()}
    return reply({"run": run_id, "metrics": metrics}, headers={"ETag": tag})


@router.get(
    "/runs/{run_id}/metrics/series", response_model=RunSeriesView,
    responses=refuses(NotFound, TooLarge, also=_FORMATS),
)  # fmt: skip
async def series(here: Here, run_id: str, query: Annotated[SeriesQuery, Query()], request: Request) -> Response:
    """Points in columns; the same question gives the same bytes twice. With If-None-Match, 304 while nothing is new."""
    tag = tag_of(here.store.runs.revision(run_id))
    if (same := unchanged(request, tag)) is not None:
        return same
    body, media_type = await in_thread(_series, here, run_id, query)
    return await zipped(request, body, media_type, {"ETag": tag})


@router.post(
    "/metrics/query", response_model=QueryView,
    responses=refuses(InvalidJson, NotFound, TooLarge, UnsupportedMedia),
)  # fmt: skip
async def query(
    here: Here, asked: Annotated[MetricsQuery, Depends(JsonBody(MetricsQuery))], request: Request
) -> Response:
    """Many runs, many names, one call, one moment. `after`: the `next` of runs in the answer before."""
    return await zipped(request, await in_thread(_query, here, asked), "application/json", {})


def _series(here: Context, run_id: str, query: SeriesQuery) -> tuple[bytes, str]:
    names = None if query.names is None else [name for name in query.names.split(",") if name]
    chosen = _columns(query.columns)
    wanted = query.model_dump(include={"from_step", "to_step", "max_points", "reduce"})
    found = _news(here, {run_id: query.after}, chosen, {"names": names, **wanted}, query.digits).get(run_id)
    if found is None:
        raise NotFound(f"no run {run_id}")
    if query.format == "json":
        return encode(_view(run_id, found, chosen)), "application/json"
    form = curves.FORMATS[query.format]
    return form.write(found.series, chosen), form.media_type


def _query(here: Context, asked: MetricsQuery) -> bytes:
    after = {run_id: asked.after.get(run_id) for run_id in asked.runs}
    wanted = asked.model_dump(include={"names", "from_step", "to_step", "max_points", "reduce"})
    found = _news(here, after, asked.columns, wanted, asked.digits)
    refuse_unknown(asked.runs, found)
    return encode({"data": [_view(run_id, found[run_id], asked.columns) for run_id in asked.runs]})


def _news(
    here: Context, after: dict[str, str | None], chosen: Sequence[str], wanted: dict[str, Any], digits: int | None
) -> dict[str, News]:
    """Of every run that is asked for and there. Raises TooLarge."""
    found = here.store.metrics.news(after, epochs=any(name != "times" for name in chosen), **wanted)
    if digits is None:
        return found
    return {
        run_id: replace(news, series={name: shortened(each, digits) for name, each in news.series.items()})
        for run_id, news in found.items()
    }


def refuse_unknown(asked: Sequence[str], known: Collection[str]) -> None:
    """Raises NotFound with every run that there is not."""
    faults = [
        Fault(f"/runs/{place}", "not_found", f"no run {run_id[:50]}")
        for place, run_id in enumerate(asked)
        if run_id not in known
    ]
    if faults:
        raise NotFound(faults[0].message if len(faults) == 1 else f"{len(faults)} runs are not there", faults=faults)


def _view(run_id: str, found: News, chosen: Sequence[str]) -> dict[str, Any]:
    return {"run": run_id, "series": curves.columns(found.series, chosen), "next": found.next}


def _columns(text: str) -> list[str]:
    """Raises InvalidSpec for a column that there is not."""
    chosen = [name for name in text.split(",") if name]
    faults = [
        Fault(
            "/query/columns", "unknown_word", f"no column {name!r}", did_you_mean(name, curves.COLUMNS), curves.COLUMNS
        )
        for name in chosen
        if name not in curves.COLUMNS
    ]
    if faults:
        raise InvalidSpec(faults[0].message, faults=faults)
    return chosen
