"""JSON bodies, read strictly: every fault of the grammar or of the model comes back with its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from service.api.problems import InvalidJson, UnsupportedMedia
from service.errors import Fault, InvalidSpec
from service.specs import faults
from service.storage import Idempotency

M = TypeVar("M")


class Body(BaseModel):
    """Base of what callers send: nothing unknown, nothing converted, nothing that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BodyReader:
    """A dependency that reads a body: JSON as the adapter says, or one of the `others`; OpenAPI finds both here."""

    adapter: TypeAdapter[Any]
    others: Collection[str] = ()

    async def __call__(self, request: Request) -> Any:
        raise NotImplementedError


class JsonBody(BodyReader, Generic[M]):
    """A dependency that reads the body as `model`; the OpenAPI document finds the model here.

    `numbers`: the body is mostly rows; looking for keys that stand twice would cost more than all the rest.
    `optional`: no body is an empty object.
    """

    def __init__(
        self, model: Any, parse: Callable[[object], M] | None = None, *, numbers: bool = False, optional: bool = False
    ) -> None:
        self.adapter: TypeAdapter[M] = TypeAdapter(model)
        self._parse = parse or self._validate
        self._numbers = numbers
        self._optional = optional

    async def __call__(self, request: Request) -> M:
        check_json(request)
        body = await request.body()
        if self._optional and not body.strip():
            return self._parse({})
        return self._parse(document(body, keys=not self._numbers))

    def _validate(self, given: object) -> M:
        return validate(self.adapter, given)


def validate(adapter: TypeAdapter[M], given: object) -> M:
    """What a document says. Raises InvalidSpec with every fault."""
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        found = faults(error, adapter, given)
        words = found[0].message if len(found) == 1 else f"{len(found)} things do not fit"
        raise InvalidSpec(words, faults=found) from error


@dataclass(frozen=True, slots=True)
class Sent:
    """A body that is not JSON, as it came."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Unread:
    """A body of any size, which the route is to read as it comes."""

    media_type: str


class MediaBody(BodyReader, Generic[M]):
    """A dependency that reads a body as JSON, or takes it as it is when it is of one of the `others`.

    One of the `large` types is left unread.
    """

    def __init__(self, json: JsonBody[M], others: Collection[str], large: Collection[str] = ()) -> None:
        self.json = json
        self.adapter = json.adapter
        self.sent, self.large = others, large
        self.others = (*others, *large)

    async def __call__(self, request: Request) -> M | Sent | Unread:
        kind = media_type(request)
        if kind in self.large:
            return Unread(kind)
        if kind in self.sent:
            return Sent(kind, await request.body())
        check_json(request, self.others)
        return await self.json(request)


def document(body: bytes, *, keys: bool = True) -> Any:
    """What the bytes say, known to be JSON: no NaN, nothing missing at the end, with `keys` no key twice.

    Raises InvalidJson, which says where.
    """
    if not body.strip():
        raise InvalidJson("the body is empty; a JSON object is expected")
    try:
        found = from_json(body, allow_inf_nan=False)
        if keys:
            json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"not JSON: {error}", hint=_hint(body)) from error
    return found


def media_type(request: Request) -> str:
    """What the body is said to be, without its parameters; empty when nothing is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_json(request: Request, others: Collection[str] = ()) -> None:
    """Raises UnsupportedMedia, with what is read here.

    A page of another origin may not post without a type: its browser would let it, without asking us.
    """
    given, kind = request.headers.get("content-type"), media_type(request)
    if kind == "application/json" or kind.endswith("+json"):
        return
    if given is None and "origin" not in request.headers:
        return
    message, hint = f"cannot read {kind or 'a body without a type'} here", "Send Content-Type: application/json."
    if others:
        hint = "Send the body as it is, with one of these as its Content-Type."
    faults = [Fault("", "unsupported", message, hint, ("application/json", *others))] if others else []
    raise UnsupportedMedia(message, hint=hint, faults=faults)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _hint(body: bytes) -> str | None:
    if (b"NaN" in body or b"Infinity" in body) and b'"step' in body:
        return 'JSON has no NaN and no Infinity; a metric may be "NaN", or in columns null with `nonfinite`.'
    if b"NaN" in body or b"Infinity" in body:
        return "JSON has no NaN and no Infinity; use null where a value may be missing."
    return None


UploadKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=200,
        description="Sent again, the same request creates nothing new.",
    ),
]  # fmt: skip
"""For a body that goes to the disk as it comes: what is read may be told from its sha256."""


async def _idempotency(request: Request, idempotency_key: UploadKey = None) -> Idempotency | None:
    if idempotency_key is None:
        return None
    asked = request.url.path.encode() + b"\n" + await request.body()
    return Idempotency(idempotency_key, hashlib.sha256(asked).hexdigest())


IdempotencyKey = Annotated[Idempotency | None, Depends(_idempotency)]
