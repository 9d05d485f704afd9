"""Every failure as one RFC 9457 document; the only module that knows status numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api import coding, methods, mlflow_errors, parameters
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
MAX_BYTES = 1_000  # of a document; a caller needs the first faults and how many there are
_DETAIL_BYTES, _MESSAGE_BYTES, _HINT_BYTES, _POINTER_BYTES, _WORDS = 160, 130, 110, 110, 24
_OPENAI_PATHS = (
    "/v1/completions", "/v1/models", "/v1/suggestions", "/v1/scores",
    "/v1/chat", "/v1/embeddings", "/v1/responses",  # its clients ask for these, and are told that there are none
)  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure, ready to be written down in the dialect of the path it happened on."""

    status: int
    code: str
    detail: str
    hint: str | None = None
    faults: tuple[Fault, ...] = ()


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


def document(problem: Problem, path: str, request_id: str) -> dict[str, Any]:
    """The body: RFC 9457's members and ours; under /v2 and the text routes what their own clients read."""
    if path.startswith("/v2"):
        return {"error": _text(problem)}
    if path.startswith(mlflow_errors.PREFIXES):
        return {"error_code": mlflow_errors.code_of(_most_precise(problem)), "message": _text(problem)}
    body: dict[str, Any] = {
        "type": f"urn:netwright:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": _short(_placed(problem), _DETAIL_BYTES),
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.hint and not any(fault.hint for fault in problem.faults):
        body["hint"] = _short(problem.hint, _HINT_BYTES)
    if path.startswith(_OPENAI_PATHS) and not path.endswith("/predict"):
        body["error"] = _openai(problem)
    return body | _listed(problem.faults, MAX_BYTES - len(to_json(body)))


def _most_precise(problem: Problem) -> str:
    """The code of the only fault where it says more: that there is such a thing already, or nothing at this address."""
    codes = {fault.code for fault in problem.faults}
    return next((code for code in ("already_exists", "nothing_there") if code in codes), problem.code)


def _placed(problem: Problem) -> str:
    """The detail; when it is that of the only fault, with the place, unless the words name it already."""
    if len(problem.faults) != 1 or problem.detail != problem.faults[0].message:
        return problem.detail
    pointer = problem.faults[0].pointer
    name = pointer.rpartition("/")[2]
    told = name in problem.detail and not name.isdecimal()  # a place in a list may be any number of the sentence
    return problem.detail if told else f"{pointer}: {problem.detail}"


def _sentences(problem: Problem) -> Iterator[str]:
    yield _short(_placed(problem), _DETAIL_BYTES)
    for fault in problem.faults[:3]:
        if fault.message != problem.detail:
            yield _short(f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message, _MESSAGE_BYTES)
    hint = problem.hint or next((fault.hint for fault in problem.faults if fault.hint), None)
    if hint:
        yield _short(hint, _HINT_BYTES)


def _text(problem: Problem) -> str:
    """All of it in one line, for those who read no more."""
    *before, last = _sentences(problem)
    return " ".join([*(each if each.endswith((".", "…")) else f"{each}." for each in before), last])


def _openai(problem: Problem) -> dict[str, Any]:
    """OpenAI's error object, which its clients turn into their exceptions."""
    first = problem.faults[0] if problem.faults else None
    kind = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    param = _short(first.pointer.strip("/").replace("/", "."), _POINTER_BYTES // 2) if first else None
    placed = _placed(problem)
    words = placed if first or not problem.hint else f"{placed}. {problem.hint}"
    room = max(_HINT_BYTES // 2, _HINT_BYTES - len((first and first.hint) or ""))
    return {
        "message": _short(words, room),
        "type": kind,
        "param": param or None,
        "code": problem.code,
    }


def _listed(faults: Sequence[Fault], room: int) -> dict[str, Any]:
    """As many faults as fit into `room` bytes, the first always, and how many there are when some are left out.

    What would be allowed is told in the room that the faults leave: it is a help, they are the answer.
    """
    if not faults:
        return {}
    listed: list[dict[str, Any]] = []
    room -= len('"errors":[],"errors_total":1000000,')
    for fault in faults:
        entry = _entry(fault)
        size = len(to_json(entry)) + 1
        if size > room and listed:
            break
        room -= size
        listed.append(entry)
    told = faults[: len(listed)]
    words = next((most for most in range(_WORDS, 0, -1) if sum(_allowed_bytes(each, most) for each in told) <= room), 0)
    for entry, fault in zip(listed, told, strict=True):
        if allowed := _allowed(fault, words):
            entry["allowed"] = allowed
    left_out = {"errors_total": len(faults)} if len(listed) < len(faults) else {}
    return {"errors": listed, **left_out}


def _entry(fault: Fault) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "pointer": _short(fault.pointer, _POINTER_BYTES),
        "code": fault.code,
        "message": _short(fault.message, _MESSAGE_BYTES),
    }
    return entry | ({"hint": _short(fault.hint, _HINT_BYTES)} if fault.hint else {})


def _allowed(fault: Fault, most: int) -> list[str]:
    return [_short(word, _HINT_BYTES) for word in fault.allowed[:most]]


def _allowed_bytes(fault: Fault, most: int) -> int:
    return len(to_json({"allowed": _allowed(fault, most)})) if fault.allowed else 0


def _short(text: str, size: int) -> str:
    """The text in at most so many bytes of UTF-8."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "…"


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
    known = parameters.names(request.scope.get("route"))
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
