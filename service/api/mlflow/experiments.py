"""Experiments for MLflow's clients: got, found, searched for and made."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.context import Context, Here, in_thread
from service.api.mlflow import shapes
from service.api.mlflow.shapes import Asked, Pair
from service.api.replies import reply
from service.errors import Fault, InvalidSpec, NotFound
from service.storage import Clause, Experiment, matches, parse_filter

router = APIRouter(prefix="/experiments")
_ORDER = re.compile(
    r"(?i)(?:attr(?:ibute)?s?\.)?[`\"]?(?P<key>name|experiment_id|creation_time|last_update_time)[`\"]?"
    r"(?:\s+(?P<end>asc|desc))?"
)


class Create(Asked):
    name: str
    tags: list[Pair] = []


class SetTag(Pair):
    experiment_id: str


class Search(Asked):
    view_type: str = "ACTIVE_ONLY"
    max_results: int = 1_000
    filter: str = ""
    order_by: list[str] = []
    page_token: str = ""


@router.get("/get")
async def get(here: Here, experiment_id: str) -> Response:
    return reply({"experiment": shapes.experiment(_named(here, shapes.name_of(experiment_id)))})


@router.get("/get-by-name")
async def get_by_name(here: Here, experiment_name: str) -> Response:
    return reply({"experiment": shapes.experiment(_named(here, experiment_name))})


@router.post("/create")
async def create(here: Here, asked: Annotated[Create, Depends(JsonBody(Create))]) -> Response:
    if asked.name == shapes.DEFAULT_ID:
        words = f"{shapes.DEFAULT_ID!r} is the id of the default experiment"
        raise InvalidSpec(words, faults=[Fault("/name", "invalid_name", words)])
    await in_thread(here.store.experiments.create, asked.name, {pair.key: pair.value for pair in asked.tags})
    return reply({"experiment_id": shapes.id_of(asked.name)})


@router.post("/set-experiment-tag")
async def set_tag(here: Here, asked: Annotated[SetTag, Depends(JsonBody(SetTag))]) -> Response:
    name = shapes.name_of(asked.experiment_id)
    _named(here, name)
    await in_thread(here.store.experiments.tag, name, asked.key, asked.value)
    return reply({})


@router.post("/search")
async def search(here: Here, asked: Annotated[Search, Depends(JsonBody(Search))]) -> Response:
    """By name; filters on name and tags. None is ever deleted."""
    clauses = parse_filter(asked.filter)
    found = [each for each in here.store.experiments.list() if all(_holds(clause, each) for clause in clauses)]
    if asked.view_type == "DELETED_ONLY":
        found = []
    for text in reversed(asked.order_by):
        key, descending = _order(text)
        found.sort(key=key, reverse=descending)
    start = shapes.behind(asked.page_token) or 0
    end = start + max(1, asked.max_results)
    more: dict[str, Any] = {"next_page_token": str(end)} if end < len(found) else {}
    return reply({"experiments": [shapes.experiment(each) for each in found[start:end]], **more})


def _named(here: Context, name: str) -> Experiment:
    for each in here.store.experiments.list():
        if each.name == name:
            return each
    raise NotFound(f"no experiment {name[:100]!r}")


def _order(text: str) -> tuple[Callable[[Experiment], tuple[float, str]], bool]:
    """By which value, and whether from its end. Raises InvalidSpec."""
    found = _ORDER.fullmatch(text.strip())
    if found is None:
        words = f"experiments are not sorted by {text[:50]!r}"
        hint = "For instance name ASC or creation_time DESC."
        raise InvalidSpec(words, faults=[Fault("/order_by", "unknown_sort", words, hint)])
    by_name = found["key"].lower() in ("name", "experiment_id")
    return (_name if by_name else _created), (found["end"] or "").lower() == "desc"


def _name(each: Experiment) -> tuple[float, str]:
    return 0.0, each.name


def _created(each: Experiment) -> tuple[float, str]:
    return 0.0 if each.created_at is None else each.created_at.timestamp(), ""


def _holds(clause: Clause, each: Experiment) -> bool:
    if clause.entity == "tag":
        value = each.tags.get(clause.key)
        if clause.value is None:
            return (value is None) == (clause.operator == "IS NULL")
        return value is not None and matches(clause, value)
    if (clause.entity, clause.key) != ("attribute", "run_name"):
        words = f"experiments are not searched by {clause.entity} {clause.key[:50]!r}"
        raise InvalidSpec(words, faults=[Fault("/filter", "unknown_attribute", words, "By name, or by tags.")])
    return matches(clause, each.name)
