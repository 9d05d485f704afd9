"""Keys over HTTP, for those whose key is of scope admin; the first one is made by `netwright keys create`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service import clock
from service.api.bodies import Body, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import paged, refuses, reply
from service.api.views.base import ListView
from service.api.views.key import KeyView, NewKeyView
from service.errors import Conflict, Fault, InvalidSpec, NotFound, StorageFull
from service.storage import KeyScope

router = APIRouter(prefix="/v1/keys", tags=["service"])


class KeyRequest(Body):
    """A key to be made."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$",
            description="Whose it is, for you to know it by.",
        ),
    ]  # fmt: skip
    scope: Annotated[
        KeyScope,
        Field(description="read: look and predict; submit: also train, upload, publish; admin: also delete, and keys."),
    ]
    expires_at: Annotated[datetime | None, Field(strict=False, description="RFC 3339, with an offset.")] = None


@router.post(
    "", status_code=201, response_model=NewKeyView,
    responses=refuses(InvalidJson, Conflict, UnsupportedMedia, StorageFull),
)  # fmt: skip
async def create_key(here: Here, asked: Annotated[KeyRequest, Depends(JsonBody(KeyRequest))]) -> Response:
    """Makes a key. Its words are in this answer and nowhere else: a lost answer is a key to revoke, not to ask for."""
    if asked.expires_at is not None and (asked.expires_at.tzinfo is None or asked.expires_at <= clock.now()):
        message = "expires_at must be in the future and say its offset, as 2030-01-31T00:00:00Z does"
        raise InvalidSpec(message, faults=[Fault("/expires_at", "out_of_range", message)])
    if asked.scope != "admin" and here.store.keys.held() is None:
        raise Conflict("the first key must be of scope admin", hint="From then on all need a key, to make keys too.")
    made, words = await in_thread(here.store.keys.create, asked.name, asked.scope, asked.expires_at)
    return reply(NewKeyView(key=words, **KeyView.model_validate(made).model_dump()), 201)


@router.get("", response_model=ListView[KeyView], responses=refuses())
async def list_keys(here: Here) -> Response:
    """All that were ever made, also those that expired or were revoked."""
    return paged(map(KeyView.model_validate, here.store.keys.list()), None)


@router.delete("/{key_id}", response_model=KeyView, responses=refuses(NotFound))
async def revoke_key(here: Here, key_id: str) -> Response:
    """Within a second it opens nothing any more."""
    return reply(KeyView.model_validate(await in_thread(here.store.keys.revoke, key_id)))
