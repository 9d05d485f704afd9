"""What shares a pass through a network: requests of a kind that come together, and how each finds its own answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from starlette.types import Scope

from service.api.bulk import MODEL_HEADER
from service.api.predict import MAX_ROWS, MAX_TOP_K, RAW_TYPE
from service.serving import RowModel, Served, answers, to_raw, together
from service.tensors import Array

_BEFORE, _AFTER = "/v1/models/", "/predict"
_RAW = RAW_TYPE.encode()
_TYPES = {b"application/json": True, b"application/json; charset=utf-8": True, _RAW: False}  # whether it is JSON
_ACCEPTS = {b"": False, b"*/*": False, b"application/json": False, _RAW: True}  # whether bytes are asked for
_UNUSUAL = {b"content-encoding", b"transfer-encoding"}
_FIELDS = {"rows", "top_k"}
_MODEL_HEADER = MODEL_HEADER.lower().encode()
_LOG = logging.getLogger(__name__)
Headers = dict[bytes, bytes]


class Form(NamedTuple):
    """What stands before a body: the model, whether the body is JSON, whether bytes are asked for."""

    ref: str
    json: bool
    raw: bool


class Kind(NamedTuple):
    """What requests must have in common to share a pass: no true, false or null (`plain`), bytes asked for (`raw`)."""

    ref: str
    json: bool
    plain: bool
    top_k: int | None
    raw: bool


@dataclass(slots=True, eq=False)
class Batch:
    """Requests of a kind that came in one turn of the loop, or while the pass before them ran."""

    kind: Kind
    parts: list[Any] = field(default_factory=list)
    answers: list[bytes | None] | None = None
    model: bytes = b""

    def work(self, served: Served) -> int:
        """Bytes of weights times rows, about."""
        model = served.model
        width = (model.preprocessor.width or 1) if isinstance(model, RowModel) else 1
        return served.bytes * sum(map(len, self.parts)) // (1 if self.kind.json else 4 * width)

    def run(self, served: Served) -> None:
        """Answers every part; what is not for a network, or does not fit, stays None."""
        self.answers, model = [None] * len(self.parts), served.model
        if not isinstance(model, RowModel):
            return
        try:
            y, places = together(model, self.parts, self.kind.plain)
            self.model = served.id.encode()
            if len(y):
                self.answers = list(self._written(model, y, places, served.id))
        except Exception:
            _LOG.exception("a pass of %s broke; its requests are answered one by one", served.id)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What stands before every answer, beside its length and the request's id."""
        if self.kind.raw:
            return [(b"content-type", _RAW), (_MODEL_HEADER, self.model)]
        return [(b"content-type", b"application/json")]

    def _written(self, model: RowModel, y: Array, places: list[slice | None], name: str) -> Iterator[bytes | None]:
        if self.kind.raw:
            data = to_raw(model, y)
            size = len(data) // len(y)
            for at in places:
                yield None if at is None else data[at.start * size : at.stop * size]
        else:
            found, head = answers(model, y, self.kind.top_k), b'{"model":' + to_json(name) + b',"predictions":'
            for at in places:
                yield None if at is None else head + to_json(found[at], inf_nan_mode="null") + b"}"


class RequestIds:
    """New ones, which nobody need guess: a word of the process, and a number."""

    def __init__(self) -> None:
        self._prefix, self._count = f"req_{token_hex(4)}".encode(), count()

    def new(self) -> bytes:
        return b"%s%08x" % (self._prefix, next(self._count) & 0xFFFFFFFF)


def usual(scope: Scope, cap: int) -> Headers | None:
    """The headers of a request that can share a pass, by what stands before its body."""
    if scope["method"] != "POST" or scope["query_string"]:
        return None
    path: str = scope["path"]
    if not (path.startswith(_BEFORE) and path.endswith(_AFTER)):
        return None
    listed: Sequence[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(listed)
    length = headers.get(b"content-length", b"")
    if len(headers) < len(listed) or not length.isdigit() or int(length) > cap or not _UNUSUAL.isdisjoint(headers):
        return None
    if headers.get(b"content-type") not in _TYPES or headers.get(b"accept", b"") not in _ACCEPTS:
        return None
    return headers


def form(path: str, headers: Headers) -> Form | None:
    """What a usual request asks; None when its model cannot be one."""
    ref = path[len(_BEFORE) : -len(_AFTER)]
    if "/" in ref:
        return None
    return Form(ref, _TYPES[headers[b"content-type"]], _ACCEPTS[headers.get(b"accept", b"")])


def asked(said: Form, body: bytes) -> tuple[Kind, Any] | None:
    """What a body asks for, and its rows."""
    if not said.json:
        return Kind(said.ref, False, True, None, said.raw), body
    try:
        found = from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None
    if type(found) is not dict or not found.keys() <= _FIELDS:
        return None
    rows, top_k = found.get("rows"), found.get("top_k")
    if type(rows) is not list or not 0 < len(rows) <= MAX_ROWS:
        return None
    if top_k is not None and not (type(top_k) is int and 1 <= top_k <= MAX_TOP_K):
        return None
    plain = b"u" not in body and b"l" not in body  # true, null; false, null
    return Kind(said.ref, True, plain, top_k, said.raw), rows
