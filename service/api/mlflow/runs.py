"""Runs for MLflow's clients: got, searched for, and the history of their metrics."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.context import Context, Here, in_thread
from service.api.mlflow import shapes
from service.api.mlflow.shapes import Asked
from service.api.replies import reply
from service.errors import Fault, InvalidSpec
from service.storage import identifier

router = APIRouter()
MAX_RUNS, MAX_HISTORY = 1_000, 1_000_000  # of one answer; then comes a page token
_ORDER = re.compile(r"(?is)(.+?)(?:\s+(asc|desc))?\s*")
_SORTS = {"start_time": "started_at", "end_time": "ended_at", "run_name": "name", "status": "status"}


class Search(Asked):
    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"] = "ACTIVE_ONLY"
    max_results: Annotated[int, Field(ge=1)] = 1_000
    order_by: list[str] = []
    page_token: str = ""


@router.get("/runs/get")
async def get(here: Here, run_id: str = "", run_uuid: str = "") -> Response:
    return reply({"run": one(here, run_id or run_uuid)})


@router.post("/runs/search")
async def search(here: Here, asked: Annotated[Search, Depends(JsonBody(Search))]) -> Response:
    return await in_thread(_search, here, asked)


@router.get("/metrics/get-history")
async def history(
    here: Here, metric_key: str, run_id: str = "", run_uuid: str = "",
    max_results: Annotated[int | None, Field(ge=1)] = None, page_token: str = "",
) -> Response:  # fmt: skip
    """Every point, by step; pages go on behind the step that the token names."""
    last = shapes.behind(page_token)
    first = None if last is None else last + 1
    return await in_thread(_history, here, run_id or run_uuid, metric_key, max_results or MAX_HISTORY, first)


def one(here: Context, run_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    return shapes.run(here.store.runs.get(run_id), here.store.metrics.latest([run_id])[run_id])


def _search(here: Context, asked: Search) -> Response:
    if not asked.experiment_ids:
        return reply({"runs": []})
    names = [shapes.name_of(each) for each in asked.experiment_ids]
    stage: dict[str, Any] = {"ACTIVE_ONLY": {"not_tag": shapes.DELETED}, "DELETED_ONLY": {"tag": shapes.DELETED}}.get(
        asked.run_view_type, {}
    )
    page = here.store.runs.list(
        filter=asked.filter, experiments=names, sort=_sort(asked.order_by), after=asked.page_token or None,
        limit=min(asked.max_results, MAX_RUNS), **stage,
    )  # fmt: skip
    latest = here.store.metrics.latest([run.id for run in page.data])
    more = {} if page.next is None else {"next_page_token": page.next}
    return reply({"runs": [shapes.run(run, latest[run.id]) for run in page.data], **more})


def _sort(order_by: list[str]) -> str:
    """Ours for MLflow's; what comes behind the first may only break ties as we do. Raises InvalidSpec."""
    sorts = [_one_sort(text) for text in order_by]
    if any(each.lstrip("-") != "started_at" for each in sorts[1:]):
        words = "runs are sorted by one thing, and equal ones by when they began"
        raise InvalidSpec(words, faults=[Fault("/order_by", "too_many", words, "Leave the others out.")])
    return sorts[0] if sorts else "-started_at"


def _one_sort(text: str) -> str:
    """Raises InvalidSpec."""
    found = _ORDER.fullmatch(text.strip())
    entity, which, key = identifier(found.group(1) if found else text)
    minus = "-" if found and (found.group(2) or "").lower() == "desc" else ""
    if entity == "metric":
        return f"{minus}{which}.{key}"
    if entity == "param":
        return f"{minus}spec.{key}"
    if entity == "attribute" and key in _SORTS:
        return minus + _SORTS[key]
    words = f"runs are not sorted by {entity} {key[:50]!r}"
    hint = "For instance metrics.loss ASC, params.`optimizer.kind` or attributes.start_time DESC."
    raise InvalidSpec(words, faults=[Fault("/order_by", "unknown_sort", words, hint)])


def _history(here: Context, run_id: str, name: str, limit: int, from_step: int | None) -> Response:
    found = here.store.metrics.series(run_id, [name], from_step=from_step).get(name)
    if found is None:
        here.store.runs.get(run_id)
        return reply({"metrics": []})
    points = shapes.history(name, found.steps[:limit], found.times[:limit], found.values[:limit])
    more = b',"next_page_token":"%d"' % found.steps[limit - 1] if len(found.steps) > limit else b""
    return Response(b'{"metrics":[%b]%b}' % (points, more), media_type="application/json")
