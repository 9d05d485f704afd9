"""From failures to answers; the only module that knows which status belongs to which."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api import coding, methods, mlflow_errors, parameters
from service.api.dialects import Problem, document
from service.errors import (
    CapacityError,
    Conflict,
    Draining,
    Fault,
    Forbidden,
    InvalidData,
    InvalidSpec,
    MissingExtra,
    NotFound,
    PreconditionFailed,
    QueueFull,
    RateExceeded,
    RequestError,
    ServiceError,
    StorageBusy,
    StorageDamaged,
    StorageFull,
    TooLarge,
    Unauthorized,
)

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger(__name__)


class InvalidJson(RequestError):  # noqa: N818 - named as its siblings in service.errors
    """The body is not JSON at all."""

    code = "invalid_json"


class UnsupportedMedia(RequestError):  # noqa: N818
    """The body's content type is not one this route reads."""

    code = "unsupported_media_type"


STATUS: Mapping[type[ServiceError], HTTPStatus] = {
    InvalidJson: HTTPStatus.BAD_REQUEST,
    coding.InvalidCoding: HTTPStatus.BAD_REQUEST,
    InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidData: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    MissingExtra: HTTPStatus.NOT_IMPLEMENTED,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    coding.UnsupportedCoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RateExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    Draining: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def problem_of(error: ServiceError) -> Problem | None:
    """What an expected error says; None when it is none that a caller may see."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return Problem(STATUS[kind], error.code, error.message, error.hint, error.faults)
    return None


INTERNAL = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    ServiceError.code,
    "Something went wrong here; the log has it under the request id.",
)


# --- answers


def respond(problem: Problem, path: str, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that failed."""
    body = to_json(document(problem, path, request_id))
    theirs = path.startswith(("/v2", *mlflow_errors.PREFIXES))
    media = "application/json" if theirs else MEDIA_TYPE
    return Response(body, int(problem.status), headers=dict(headers or {}), media_type=media)


def refuse(error: ServiceError, path: str, request_id: str) -> Response:
    """The same for an expected error, with the headers that belong to its kind."""
    problem = problem_of(error)
    if problem is None:
        _LOG.error("an error no caller should see", exc_info=error)
        problem = INTERNAL
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    headers |= {"Accept-Encoding": coding.ACCEPTED} if isinstance(error, coding.UnsupportedCoding) else {}
    headers |= {"Retry-After": str(error.retry_after_s)} if isinstance(error, CapacityError) else {}
    return respond(problem, path, request_id, headers)


def install(app: FastAPI) -> None:
    """Gives the app its answers to everything that its routes raise."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    if request.method == "GET":
        error.faults = tuple(map(parameters.placed, error.faults))
    return refuse(error, request.url.path, request_id_of(request))


async def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    """A query, path or header value that does not fit; pointers start with where it stood: /query/limit."""
    assert isinstance(error, RequestValidationError)
    known = parameters.known(request.scope.get("route"))
    faults = tuple(parameters.fault(each, known) for each in error.errors())
    words = faults[0].message if len(faults) == 1 else f"{len(faults)} parameters do not fit"
    problem = Problem(STATUS[InvalidSpec], InvalidSpec.code, words, None, faults)
    return respond(problem, request.url.path, request_id_of(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths (404), methods (405, which keeps its Allow) and the like."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    detail, hint, headers = str(error.detail), None, dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail, hint = f"there is nothing at {request.url.path}", _closest_path(request)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(methods.offered(request.scope))
        detail, hint = f"{request.method} is not offered at {request.url.path}", f"Use {headers['Allow']}."
    faults: tuple[Fault, ...] = ()
    if request.url.path.startswith(mlflow_errors.PREFIXES) and error.status_code == HTTPStatus.NOT_FOUND:
        faults = (Fault("", "nothing_there", "this part of MLflow's API is not offered here"),)
    problem = Problem(error.status_code, code, detail, hint, faults)
    return respond(problem, request.url.path, request_id_of(request), headers)


def _closest_path(request: Request) -> str:
    paths = list(request.app.openapi()["paths"])
    if request.url.path.startswith("/v1/chat"):
        return "There is no chat here; the models continue a text: /v1/completions."
    close = get_close_matches(request.url.path, paths, n=1, cutoff=0.7)
    return f"Did you mean {close[0]}?" if close else "Every route is listed at /docs."


def request_id_of(request: Request) -> str:
    """The id the door gave this request."""
    return str(getattr(request.state, "request_id", "-"))
