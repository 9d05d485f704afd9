"""Runs side by side: what their specs say differently, from where on they part, and which is best at what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service import storage
from service.api.bodies import Body, JsonBody
from service.api.context import Context, Here, in_thread
from service.api.metrics import refuse_unknown
from service.api.points import Name
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.compare import ComparedMetricView, ComparedView, CompareView, DifferenceView
from service.api.views.metric import PointView
from service.errors import NotFound, TooLarge
from service.storage import Run

router = APIRouter(prefix="/v1/runs", tags=["runs"])
_OF_TIME = frozenset({"rows_per_s"})  # another value every time, whatever was computed
Parted = dict[str, dict[str, int | None]]  # by run and metric


class CompareQuery(Body):
    """Which runs: the others are compared with the first."""

    runs: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=2, max_length=50)]
    names: Annotated[list[Name], Field(max_length=100)] | None = Field(None, description="Metrics; all without.")


@router.post(
    "/compare", response_model=CompareView, responses=refuses(InvalidJson, NotFound, TooLarge, UnsupportedMedia)
)
async def compare(here: Here, asked: Annotated[CompareQuery, Depends(JsonBody(CompareQuery))]) -> Response:
    """Spec differences, the first step where runs part, and a table of best values."""
    return reply(await in_thread(_compared, here, asked))


def _compared(here: Context, asked: CompareQuery) -> CompareView:
    known = here.store.runs.several(asked.runs)
    refuse_unknown(asked.runs, known)
    found = [known[run_id] for run_id in asked.runs]
    names = sorted({name for run in found for name in run.summary if asked.names is None or name in asked.names})
    parted = {run.id: _parted(here.store, found[0], run, names) for run in found[1:]}
    return CompareView(
        runs=[_run(run, parted.get(run.id, {})) for run in found],
        spec=list(_differences([run.spec for run in found])),
        receipt=list(_differences([run.receipt or {} for run in found])),
        metrics=[_metric(name, found, parted) for name in names],
    )


def _parted(store: storage.Store, first: Run, run: Run, names: Sequence[str]) -> dict[str, int | None]:
    """By the metrics that both have; one at a time, since there may be many points."""
    both = [name for name in names if name in first.summary and name in run.summary and name not in _OF_TIME]
    parted = {}
    for name in both:
        series = store.metrics.query([first.id, run.id], [name])
        parted[name] = storage.parting(series[first.id][name], series[run.id][name])
    return parted


def _run(run: Run, parted: Mapping[str, int | None]) -> ComparedView:
    same = ("id", "name", "type", "status", "weights_sha256")
    steps = [step for step in parted.values() if step is not None]
    return ComparedView(parted_at=min(steps, default=None), **{name: getattr(run, name) for name in same})


def _metric(name: str, found: Sequence[Run], parted: Parted) -> ComparedMetricView:
    best, last = ([_point(run, name, part) for run in found] for part in ("best", "last"))
    direction = storage.direction(name)
    scored = [
        (point.value, run.id) for point, run in zip(best, found, strict=True) if point and point.value is not None
    ]
    winner = None
    if direction and scored:
        winner = (min if direction == "min" else max)(scored, key=lambda each: each[0])[1]
    return ComparedMetricView(
        name=name, direction=direction, best=best, last=last, winner=winner,
        parted_at=[parted.get(run.id, {}).get(name) for run in found],
    )  # fmt: skip


def _point(run: Run, name: str, part: str) -> PointView | None:
    found = run.summary.get(name, {}).get(part)
    return PointView(**found) if found else None


def _differences(documents: Sequence[Mapping[str, Any]]) -> Iterator[DifferenceView]:
    """Field by field, in the order of their paths: `network.layers.0.units`."""
    leaves = [dict(_leaves(document, "")) for document in documents]
    for field in sorted({path for each in leaves for path in each}, key=_in_order):
        values = [each.get(field) for each in leaves]
        if len(list(groupby((type(value), value) for value in values))) > 1:
            yield DifferenceView(field=field, values=values)


def _in_order(path: str) -> list[tuple[bool, int, str]]:
    """Numbers by their size: layer 10 after layer 9."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path.split(".")]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield path, value
        return
    for name, each in inside:
        yield from _leaves(each, f"{path}.{name}" if path else str(name))
