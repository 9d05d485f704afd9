"""Models by name: versions of runs' weights, and the record of each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, IdempotencyKey, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.record import named
from service.api.replies import ListQuery, listed, refuses, reply
from service.api.views.model import ModelsView, ModelView, NamedModelView, VersionView
from service.errors import Conflict, NotFound, StorageFull

router = APIRouter(prefix="/v1/models", tags=["models"])


class NewVersion(Body):
    """Whose weights become the next version, and why."""

    run: Annotated[str, Field(max_length=100)]
    note: Annotated[str, Field(max_length=2_000)] = ""


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
