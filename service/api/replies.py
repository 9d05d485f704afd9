"""Answers as bytes: a view is written straight to JSON, never validated twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.responses import Response

from service.api.problems import STATUS
from service.errors import InvalidSpec, ServiceError
from service.storage import Page

R = TypeVar("R")
Documented = dict[int | str, dict[str, Any]]
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}


class ListQuery(BaseModel):
    """Which piece of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[str | None, Query(max_length=500, description="`next` of the piece before.")] = None
    limit: Annotated[int, Query(ge=1, le=1000)] = 20


def encode(value: Any) -> bytes:
    """JSON as others read it: what is not finite is null."""
    return to_json(value, inf_nan_mode="null")


def reply(view: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a body."""
    return Response(encode(view), status, headers=dict(headers or {}), media_type="application/json")


def listed(page: Page[R], view: Callable[[R], Any], **more: Any) -> Response:
    """A piece of a list."""
    return paged(map(view, page.data), page.next, **more)


def paged(data: Iterable[Any], next: str | None, **more: Any) -> Response:
    """The same for what is no page of the store."""
    return reply({**more, "data": list(data), "has_more": next is not None, "next": next})


def refuses(*errors: type[ServiceError], also: Documented | None = None) -> Documented:
    """How a route may refuse, for the OpenAPI document; 422 is always among it. `also`: other answers."""
    found: Documented = dict(also or {})
    kinds: tuple[type[ServiceError], ...] = (InvalidSpec, *errors)
    for error in kinds:
        status = STATUS[error]
        found[int(status)] = {"description": status.phrase, "content": _PROBLEM}
    return dict(sorted(found.items(), key=lambda each: int(each[0])))
