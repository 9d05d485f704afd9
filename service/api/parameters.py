"""What stands beside the body: path, query and headers. A documented route refuses what it does not know."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import mlflow_errors
from service.errors import Fault, did_you_mean
from service.specs import code_of, said

_LENIENT = ("/v2", "/v1/completions", "/health", "/metrics", *mlflow_errors.PREFIXES)
_OPENAI_MODEL = "/v1/models/{ref}"


class Parameters(BaseModel):
    """Base of what a query may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def lenient(path: str) -> bool:
    """Whether other people's clients and probes may add what they like."""
    return path.startswith(_LENIENT) or path == _OPENAI_MODEL


def strict(routers: Iterable[APIRouter]) -> None:
    """Has every route without parameters refuse a query, and those with parameters refuse one that is given twice.

    What is unknown to those is refused by their models.
    """
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and not isinstance(route.app, _Bare | _Once) and not lenient(route.path):
                route.app = _Once(route.app, _lists(route)) if known(route) else _Bare(route.app)


class _Bare:
    """ASGI: a route that takes no query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"]:
            given = dict.fromkeys(QueryParams(scope["query_string"]))
            raise RequestValidationError([{"type": "extra_forbidden", "loc": ("query", name)} for name in given])
        await self._app(scope, receive, send)


class _Once:
    """ASGI: a route that takes each parameter once, but for those that are lists."""

    def __init__(self, app: ASGIApp, lists: Collection[str]) -> None:
        self._app, self._lists = app, lists

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if b"&" in scope["query_string"]:
            given = [name for name, _ in QueryParams(scope["query_string"]).multi_items() if name not in self._lists]
            twice = [name for name in dict.fromkeys(given) if given.count(name) > 1]
            if twice:
                raise RequestValidationError([{"type": "given_twice", "loc": ("query", name)} for name in twice])
        await self._app(scope, receive, send)


def _lists(route: object) -> frozenset[str]:
    """Those parameters of a route that may be given several times."""
    return frozenset(name for name, annotation in known(route).items() if get_origin(annotation) is list)


def placed(fault: Fault) -> Fault:
    """Of a request without a body: what is wrong stands in its query."""
    told = not fault.pointer or fault.pointer.startswith(("/query/", "/path/", "/header/"))
    return fault if told else replace(fault, pointer=f"/query{fault.pointer}")


def known(route: object) -> dict[str, Any]:
    """The parameters that the query of a route may have, and of which types."""
    found: dict[str, Any] = {}
    for field in getattr(getattr(route, "dependant", None), "query_params", ()):
        fields = getattr(field.field_info.annotation, "model_fields", None) or {field.alias: field.field_info}
        found |= {name: each.annotation for name, each in fields.items()}
    return found


def fault(error: Mapping[str, Any], known: Mapping[str, Any]) -> Fault:
    """What FastAPI says of a query, path or header value, in our words; pointers start with where it stood."""
    pointer = "".join(f"/{part}" for part in error["loc"])
    name = str(error["loc"][-1])
    if error["type"] == "given_twice":
        return Fault(pointer, "twice", f"{name} is given more than once", "One value is taken here.")
    if error["type"] == "extra_forbidden":
        return Fault(pointer, "unknown_field", f"no parameter {name!r} here", _hint(name, tuple(known)), tuple(known))
    code = code_of(str(error["type"]))
    if code == "missing":
        choices = known.get(name)
        allowed = get_args(choices) if str(get_origin(choices)) == str(Literal) else ()
        return Fault(pointer, code, f"{name!r} is missing", allowed=tuple(map(str, allowed)))
    if code != "unknown_word":
        return Fault(pointer, code, f"{name} {said(error['msg'])}")
    words, sent = tuple(re.findall(r"'([^']*)'", error["ctx"]["expected"])), str(error["input"])[:40]
    return Fault(pointer, code, f"unknown {name} {sent!r}", did_you_mean(sent, words), words)


def _hint(name: str, known: Sequence[str]) -> str | None:
    return did_you_mean(name, known) if known else "There are no parameters here; what a POST takes goes into its body."
