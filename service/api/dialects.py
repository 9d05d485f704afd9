"""A failure written down: RFC 9457's document with our members, and what the clients of other protocols read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json

from service.api import mlflow_errors
from service.errors import Fault

MAX_BYTES = 1_000  # of a document; a caller needs the first faults and how many there are
_DETAIL_BYTES, _MESSAGE_BYTES, _HINT_BYTES, _POINTER_BYTES, _WORDS = 160, 130, 110, 110, 24
_OPENAI_PATHS = (
    "/v1/completions", "/v1/models", "/v1/suggestions", "/v1/scores",
    "/v1/chat", "/v1/embeddings", "/v1/responses",  # its clients ask for these, and are told that there are none
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure, ready to be written down in the dialect of the path it happened on."""

    status: int
    code: str
    detail: str
    hint: str | None = None
    faults: tuple[Fault, ...] = ()


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
