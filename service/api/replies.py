"""Answers as bytes: a view is written straight to JSON, never validated twice."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import Query
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from service import __version__
from service.api.problems import STATUS
from service.errors import InvalidSpec, ServiceError
from service.storage import Page

R = TypeVar("R")
Documented = dict[int | str, dict[str, Any]]
_WORTH_ZIPPING = 4_000  # bytes; below that the time is better spent sending
_SQUEEZABLE = re.compile(r"text/|application/(x-nd)?json")
INFERENCE_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceErrorView"}}}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}


class ListQuery(BaseModel):
    """Which piece of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[str | None, Query(max_length=8_000, description="`next` of the piece before.")] = None
    limit: Annotated[int, Query(ge=1, le=1000)] = 20


def encode(value: Any) -> bytes:
    """JSON as others read it: what is not finite is null."""
    return to_json(value, inf_nan_mode="null")


def reply(view: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a body."""
    return Response(encode(view), status, headers=dict(headers or {}), media_type="application/json")


def tag_of(revision: int) -> str:
    """The ETag of what depends on one row's revision alone; weak, since the same may come zipped."""
    return f'W/"{__version__}-{revision}"'


def unchanged(request: Request, tag: str) -> Response | None:
    """304 when the caller has this already."""
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers={"ETag": tag}) if tag in known or known == ["*"] else None


async def zipped(request: Request, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """An answer that may be long, as gzip where the caller reads that; the same body gives the same bytes."""
    headers = {**headers, "Vary": "Accept-Encoding"}
    if len(body) >= _WORTH_ZIPPING and _SQUEEZABLE.match(media_type) and _reads_gzip(request):
        body = await to_thread.run_sync(lambda: gzip.compress(body, 1, mtime=0))
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=media_type)


def _reads_gzip(request: Request) -> bool:
    """Whether gzip is among what the caller accepts (RFC 9110), and not refused by q=0."""
    for each in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = each.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or not weight
    return False


def listed(page: Page[R], view: Callable[[R], Any], **more: Any) -> Response:
    """A piece of a list."""
    return paged(map(view, page.data), page.next, **more)


def paged(data: Iterable[Any], next: str | None, **more: Any) -> Response:
    """The same for what is no page of the store."""
    return reply({**more, "data": list(data), "has_more": next is not None, "next": next})


def refuses(
    *errors: type[ServiceError], also: Documented | None = None, content: dict[str, Any] = PROBLEM
) -> Documented:
    """How a route may refuse, for the OpenAPI document; 422 is always among it. `also`: other answers."""
    found: Documented = dict(also or {})
    kinds: tuple[type[ServiceError], ...] = (InvalidSpec, *errors)
    for error in kinds:
        status = STATUS[error]
        found[int(status)] = {"description": status.phrase, "content": content}
    return dict(sorted(found.items(), key=lambda each: int(each[0])))
