"""Models by name: versions of runs' weights, and aliases that move and remember."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from service import storage
from service.api.bodies import Body, IdempotencyKey, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import ListQuery, listed, refuses, reply
from service.api.views.model import AliasMoveView, ModelsView, ModelView, NamedModelView, VersionView
from service.errors import Conflict, NotFound, StorageFull

router = APIRouter(prefix="/v1/models", tags=["models"])


class NewVersion(Body):
    """Whose weights become the next version, and why."""

    run: Annotated[str, Field(max_length=100)]
    note: Annotated[str, Field(max_length=2_000)] = ""


class AliasTarget(Body):
    """Where the alias points from now on; null takes it away."""

    version: Annotated[int, Field(ge=1, lt=1 << 31)] | None


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
    return reply(VersionView.of(row), 201, {"Location": f"/v1/models/{name}:{row.version}"})


@router.get("/{ref}", response_model=NamedModelView, responses=refuses(NotFound, Conflict))
async def get_model(here: Here, ref: str) -> Response:
    """What a reference means now: name, name:3, name@alias, run_... or run_...@latest."""
    models, found = here.store.models, here.store.models.resolve(ref)
    if found.name is None:
        created = here.store.runs.get(found.run_id).created_at
        of_name: tuple[storage.ModelVersion, ...] = ()
    else:
        of_name = models.versions(found.name)
        created = next(each.created_at for each in of_name if each.version == found.version)
    view = NamedModelView(
        id=ref, object="model", created=int(created.timestamp()), owned_by="netwright", version=found.version,
        run_id=found.run_id, versions=[VersionView.of(each) for each in of_name],
        aliases=models.aliases(found.name) if found.name else {},
        history=[AliasMoveView.model_validate(move) for move in models.alias_history(found.name)] if found.name else [],
    )  # fmt: skip
    return reply(view)


@router.put(
    "/{name}/aliases/{alias}", response_model=AliasMoveView, responses=refuses(InvalidJson, NotFound, UnsupportedMedia)
)
async def move_alias(
    here: Here, name: str, alias: str, asked: Annotated[AliasTarget, Depends(JsonBody(AliasTarget))]
) -> Response:
    """Points an alias at a version, at once for every request that begins after the answer."""
    return reply(AliasMoveView.model_validate(await in_thread(here.store.models.set_alias, name, alias, asked.version)))


@router.get("/{name}/aliases/{alias}", response_model=list[AliasMoveView], responses=refuses(NotFound))
async def alias_history(here: Here, name: str, alias: str) -> Response:
    """Every move of the alias, oldest first."""
    moves = here.store.models.alias_history(name, alias)
    if not moves:
        raise NotFound(f"no alias {alias} of {name}")
    return reply([AliasMoveView.model_validate(move) for move in moves])
