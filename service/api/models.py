"""Models by name: versions of runs' weights, and aliases that move and remember."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query
from pydantic import Field
from starlette.responses import Response

from service import storage
from service.api.bodies import Body, IdempotencyKey, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.record import named
from service.api.replies import ListQuery, listed, refuses, reply
from service.api.views.model import AliasMoveView, ModelsView, ModelView, NamedModelView, VersionView
from service.errors import Conflict, NotFound, PreconditionFailed, StorageFull

router = APIRouter(prefix="/v1/models", tags=["models"])


class NewVersion(Body):
    """Whose weights become the next version, and why."""

    run: Annotated[str, Field(max_length=100)]
    note: Annotated[str, Field(max_length=2_000)] = ""


class AliasTarget(Body):
    """Where the alias points from now on; null takes it away."""

    version: Annotated[int, Field(ge=1, lt=1 << 31)] | None


def _expected(
    if_match: Annotated[str | None, Header(max_length=100, description="The ETag of the move it must be at.")] = None,
    if_none_match: Annotated[Literal["*"] | None, Header(description="Only when the alias points nowhere yet.")] = None,
) -> int | None:
    """The revision that an alias must be at, 0 for nowhere; None when the caller does not care."""
    if if_none_match is not None:
        return 0
    if if_match is None:
        return None
    found = re.fullmatch(r'"(\d{1,18})"', if_match.strip())
    if found is None:
        raise PreconditionFailed("If-Match is none of our ETags", hint="Send the ETag of the alias as it came.")
    return int(found.group(1))


Expected = Annotated[int | None, Depends(_expected)]


@router.get("", response_model=ModelsView, responses=refuses())
async def list_models(here: Here, query: Annotated[ListQuery, Query()]) -> Response:
    """The newest version of every model, by name; readable by OpenAI's clients."""
    return listed(here.store.models.list(**query.model_dump()), ModelView.of, object="list")


@router.post(
    "/{name}/versions", status_code=201, response_model=VersionView,
    responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia, StorageFull),
)  # fmt: skip
async def add_version(
    here: Here, name: str, asked: Annotated[NewVersion, Depends(JsonBody(NewVersion))], key: IdempotencyKey
) -> Response:
    """The next version of `name`, at the run's best weights."""
    row = await in_thread(here.store.models.add_version, name, asked.run, note=asked.note, idempotency_key=key)
    view = VersionView.of(row, here.store.runs.get(row.run_id))
    return reply(view, 201, {"Location": f"/v1/models/{name}:{row.version}"})


@router.get("/{ref}", response_model=NamedModelView, responses=refuses(NotFound, Conflict))
async def get_model(here: Here, ref: str) -> Response:
    """What a reference means now, with its record: name, name:3, name@alias, run_... or run_...@latest."""
    return reply(named(here, ref))


@router.delete("/{ref}", status_code=204, response_class=Response, responses=refuses(NotFound, Conflict))
async def delete_model(here: Here, ref: str) -> Response:
    """Forgets a version (name:3) or a model with all its versions (name), unless an alias points there."""
    name, colon, _ = ref.partition(":")
    version = here.store.models.resolve(ref).version if colon else None
    await in_thread(here.store.models.delete, name, version)
    return Response(status_code=204)


@router.put(
    "/{name}/aliases/{alias}", response_model=AliasMoveView,
    responses=refuses(InvalidJson, NotFound, PreconditionFailed, UnsupportedMedia),
)  # fmt: skip
async def move_alias(
    here: Here, name: str, alias: str, asked: Annotated[AliasTarget, Depends(JsonBody(AliasTarget))], expected: Expected
) -> Response:
    """Points an alias at a version, at once for every request that begins after the answer."""
    return _moved(await in_thread(here.store.models.set_alias, name, alias, asked.version, expected=expected))


@router.post(
    "/{name}/aliases/{alias}/rollback", response_model=AliasMoveView,
    responses=refuses(NotFound, Conflict, PreconditionFailed),
)  # fmt: skip
async def roll_back(here: Here, name: str, alias: str, expected: Expected) -> Response:
    """Points an alias where it pointed before its last move; twice is back again."""
    return _moved(await in_thread(here.store.models.roll_back, name, alias, expected=expected))


@router.get("/{name}/aliases/{alias}", response_model=list[AliasMoveView], responses=refuses(NotFound))
async def alias_history(here: Here, name: str, alias: str) -> Response:
    """Every move of the alias, oldest first; the ETag is that of the last one."""
    moves = here.store.models.alias_history(name, alias)
    if not moves:
        raise NotFound(f"no alias {alias} of {name}")
    return reply([AliasMoveView.model_validate(move) for move in moves], headers=_etag(moves[-1]))


def _moved(move: storage.AliasMove) -> Response:
    return reply(AliasMoveView.model_validate(move), headers=_etag(move))


def _etag(move: storage.AliasMove) -> dict[str, str]:
    return {"ETag": f'"{move.revision}"'}
