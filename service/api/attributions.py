"""Why a model answers as it does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, JsonBody
from service.api.bulk import MODEL_HEADER
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.model import AttributionsView, AttributionView
from service.errors import Conflict, InvalidData, NotFound, TooLarge
from service.serving import attributed, heat_map

router = APIRouter(prefix="/v1/models", tags=["models"])
MAX_ROWS = 64  # each is answered hundreds of times, forward and back
_PNG = "image/png"


class Questioned(Body):
    """Rows as for predict, and which number of the answer to explain."""

    rows: Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS)]
    target: (
        Annotated[
            str,
            Field(max_length=300, description="A class, or one of several numbers; else what is predicted."),
        ]
        | None
    ) = None


@router.post(
    "/{ref}/attributions", response_model=AttributionsView,
    responses=refuses(
        InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia,
        also={200: {"content": {_PNG: {"schema": {"type": "string", "format": "binary"}}}}},
    ),
)  # fmt: skip
async def attribute(
    here: Here, ref: str, request: Request, asked: Annotated[Questioned, Depends(JsonBody(Questioned, numbers=True))]
) -> Response:
    """What each feature adds to the answer: integrated gradients from the average row, or a black picture, to the row.

    The values sum to `answer` - `baseline`. With `Accept: image/png` the first row's, of a model of pictures, is a heat
    map: red adds, blue takes away.
    """
    served = await in_thread(here.registry.get, ref)
    found = await in_thread(attributed, served, asked.rows, asked.target)
    if _PNG in request.headers.get("accept", ""):
        body = await in_thread(heat_map, found[0].values)
        return Response(body, headers={MODEL_HEADER: served.id}, media_type=_PNG)
    return reply(AttributionsView(model=served.id, attributions=[AttributionView.of(each) for each in found]))
