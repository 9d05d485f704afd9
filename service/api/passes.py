"""What shares a pass through a network: requests of a kind that come together, and how each finds its own answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from starlette.types import Scope

from service.api import infer
from service.api.ahead import JSON_LINES, Headers, Lines, sized
from service.api.bulk import MODEL_HEADER
from service.api.predict import MAX_ROWS, MAX_TOP_K, RAW_TYPE
from service.api.tensors import LENGTH_HEADER
from service.serving import RowModel, Served, answers, to_raw, together
from service.tensors import Array

_PREDICT, _INFER = ("/v1/models/", "/predict"), ("/v2/models/", "/infer")
_RAW = RAW_TYPE.encode()
_TYPES = {b"application/json": True, b"application/json; charset=utf-8": True, _RAW: False}  # whether it is JSON
_ACCEPTS = {b"": False, b"*/*": False, b"application/json": False, _RAW: True}  # whether bytes are asked for
_FIELDS = {"rows", "top_k"}
_MODEL_HEADER, _LENGTH_HEADER = MODEL_HEADER.lower().encode(), LENGTH_HEADER.lower().encode()
_RAW_LINE = (b"content-type", _RAW)
_LOG = logging.getLogger(__name__)


class Form(NamedTuple):
    """What stands before a body: the model, whether the body is JSON, whether bytes are asked for.

    Of the Open Inference Protocol: how the path names the model, and the bytes of JSON before tensors, if it says so.
    """

    ref: str
    json: bool
    raw: bool
    model: str | None = None
    json_bytes: int | None = None


class Kind(NamedTuple):
    """What requests must have in common to share a pass: no true, false or null (`plain`), bytes asked for (`raw`).

    `tensor`: they speak the Open Inference Protocol.
    """

    ref: str
    json: bool
    plain: bool
    top_k: int | None
    raw: bool
    tensor: infer.Tensor | None = None


class Question(NamedTuple):
    """A request understood; `name` is its own id of the Open Inference Protocol."""

    kind: Kind
    part: Any
    name: str | None = None


@dataclass(slots=True, eq=False)
class Batch:
    """Requests of a kind that came in one turn of the loop, or while the pass before them ran."""

    kind: Kind
    parts: list[Any] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    answers: list[bytes | None] | None = None
    lengths: list[int | None] = field(default_factory=list)
    model: bytes = b""

    def add(self, question: Question, request_id: bytes) -> int:
        """Takes a request in; its place."""
        self.parts.append(question.part)
        self.ids.append(request_id)
        if self.kind.tensor is not None:
            self.names.append(question.name or request_id.decode())
        return len(self.parts) - 1

    def work(self, served: Served) -> int:
        """Bytes of weights times rows, about."""
        model = served.model
        if self.kind.json and isinstance(model, RowModel):
            return served.bytes * sum(map(model.preprocessor.work, self.parts))
        width = (model.preprocessor.width or 1) if isinstance(model, RowModel) else 1
        return served.bytes * sum(map(len, self.parts)) // (1 if self.kind.json else 4 * width)

    def run(self, served: Served) -> None:
        """Answers every part; what is not for a network, or does not fit, stays None."""
        self.answers, model, tensor = [None] * len(self.parts), served.model, self.kind.tensor
        if not isinstance(model, RowModel):
            return
        try:
            if tensor is not None and not infer.fits(tensor, model):
                return
            y, places = together(model, self.parts, self.kind.plain)
            self.model = served.id.encode()
            if not len(y):
                return
            if tensor is not None:
                told = list(infer.answered(tensor, served, model, y, places, self.names))
                self.answers, self.lengths = [body for body, _ in told], [length for _, length in told]
            else:
                self.answers = list(self._written(model, y, places, served.id))
        except Exception:
            self.answers = [None] * len(self.parts)
            _LOG.exception("a pass of %s broke; its requests are answered one by one", served.id)

    def headers(self, at: int) -> Lines:
        """What stands before an answer, beside its length and the request's id."""
        if self.lengths and (length := self.lengths[at]) is not None:
            return (_RAW_LINE, (_LENGTH_HEADER, b"%d" % length))
        return (_RAW_LINE, (_MODEL_HEADER, self.model)) if self.kind.raw else JSON_LINES

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


def usual(scope: Scope, cap: int) -> tuple[Form, Headers] | None:
    """What stands before the body of a request that can share a pass."""
    headers = sized(scope, cap)
    if headers is None:
        return None
    path: str = scope["path"]
    for (before, after), form in ((_PREDICT, _of_rows), (_INFER, _of_tensors)):
        if path.startswith(before) and path.endswith(after):
            found = form(path[len(before) : -len(after)], headers)
            return None if found is None else (found, headers)
    return None


def _of_rows(ref: str, headers: Headers) -> Form | None:
    kind, accept = headers.get(b"content-type"), headers.get(b"accept", b"")
    if "/" in ref or kind not in _TYPES or accept not in _ACCEPTS:
        return None
    return Form(ref, _TYPES[kind], _ACCEPTS[accept])


def _of_tensors(path: str, headers: Headers) -> Form | None:
    """Without a type, as Triton's client sends it, unless a page of the web may have sent it."""
    model, _, version = path.partition("/versions/")
    kind, length = headers.get(b"content-type"), headers.get(_LENGTH_HEADER)
    if "/" in model or "/" in version or (kind not in _TYPES and (kind is not None or b"origin" in headers)):
        return None
    if length is not None and not (length.isdigit() and len(length) < 10 and int(length) > 0):
        return None
    ref = f"{model}:{version}" if "/" in path else model
    return Form(ref, True, False, model, None if length is None else int(length))


def asked(said: Form, body: bytes) -> Question | None:
    """What a body asks for, and its rows."""
    if said.model is not None:
        sent = infer.read(said.model, said.json_bytes, body)
        return None if sent is None else Question(Kind(said.ref, False, True, None, False, sent[0]), *sent[1:])
    if not said.json:
        return Question(Kind(said.ref, False, True, None, said.raw), body)
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
    return Question(Kind(said.ref, True, plain, top_k, said.raw), rows)
