"""The OpenAPI document: FastAPI's, with the bodies our own reader takes and the problems our routes answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from service import __version__
from service.api.bodies import BodyReader
from service.api.gate import needed
from service.api.replies import INFERENCE_ERROR, PROBLEM
from service.api.views.problem import InferenceErrorView, ProblemView

TITLE = "netwright"
_REFUSALS = {
    "401": ("Unauthorized", "No key, or none that opens anything."),
    "403": ("Forbidden", "The key does not go so far."),
    "413": ("BodyTooLarge", "The body is larger than the settings allow."),
    "429": ("RateExceeded", "Asked more often than one caller may; `Retry-After` says when again."),
}
_REFERENCE = "#/components/schemas/{model}"


def install(app: FastAPI, routers: list[APIRouter]) -> None:
    """Makes `app.openapi()` tell everything; built once, when first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app, routers)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def build(app: FastAPI, routers: list[APIRouter]) -> dict[str, Any]:
    """The document."""
    found = get_openapi(title=TITLE, version=__version__, routes=app.routes, description=app.description)
    bodies = list(_bodies(routers))
    wanted: list[Any] = [(route.path, "validation", body.adapter) for route, body in bodies]
    schemas, shared = TypeAdapter.json_schemas(
        [*wanted, *((view.__name__, "serialization", TypeAdapter(view)) for view in (ProblemView, InferenceErrorView))],
        ref_template=_REFERENCE,
    )
    components = found.setdefault("components", {}).setdefault("schemas", {})
    components.update(shared.get("$defs", {}))
    _keyed(found)
    for route, body in bodies:
        content = {"application/json": {"schema": schemas[(route.path, "validation")]}}
        content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in body.others}
        for method in route.methods or ():
            operation = found["paths"][route.path][method.lower()]
            operation["requestBody"] = {"required": True, "content": content}
            _answers(operation, route.path, ["413"])
    return found


def _keyed(document: dict[str, Any]) -> None:
    """What a key must allow for each operation, where a server wants keys at all."""
    words = "Where the server wants keys (`netwright keys create`); `x-scope` of an operation: what the key must allow."
    schemes = document["components"].setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": words}
    answers = document["components"].setdefault("responses", {})
    for name, what in _REFUSALS.values():
        answers[name] = {"description": what, "content": PROBLEM}
        answers[f"Inference{name}"] = {"description": what, "content": INFERENCE_ERROR}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            scope = needed(method.upper(), path)
            if scope is not None:
                operation |= {"security": [{}, {"key": []}], "x-scope": scope}
                _answers(operation, path, ["401", "403", "429"])


def _answers(operation: dict[str, Any], path: str, codes: list[str]) -> None:
    """Adds refusals that come before the route itself is asked."""
    kind = "Inference" if path.startswith("/v2") else ""
    theirs = {code: {"$ref": f"#/components/responses/{kind}{_REFUSALS[code][0]}"} for code in codes}
    operation["responses"] = dict(sorted((theirs | operation["responses"]).items()))


def _bodies(routers: list[APIRouter]) -> Iterator[tuple[APIRoute, BodyReader]]:
    """Every route that reads a body, with its reader."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for dependant in route.dependant.dependencies:
                    if isinstance(dependant.call, BodyReader):
                        yield route, dependant.call
