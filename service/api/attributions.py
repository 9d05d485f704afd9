"""Why a model answers as it does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, JsonBody, MediaBody, Sent, Unread
from service.api.bulk import MODEL_HEADER
from service.api.context import Here, in_thread
from service.api.parameters import Parameters
from service.api.predict import ONE_ROW
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.model import AttributionsView, AttributionView
from service.errors import Conflict, Fault, InvalidData, InvalidSpec, NotFound, TooLarge
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


class FileQuestion(Parameters):
    """What to explain of a picture or a sound that is the body."""

    target: Annotated[str | None, Query(max_length=300, description="Of a file: a class, else the predicted one.")] = (
        None
    )

    def refuse(self) -> None:
        """Raises InvalidSpec when this is said beside JSON, which has a field for it."""
        if self.target is not None:
            message = "target of the query is not read beside JSON"
            raise InvalidSpec(message, faults=[Fault("/query/target", "not_here", message, "Say it in the body.")])


@router.post(
    "/{ref}/attributions", response_model=AttributionsView,
    responses=refuses(
        InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia,
        also={200: {"content": {_PNG: {"schema": {"type": "string", "format": "binary"}}}}},
    ),
)  # fmt: skip
async def attribute(
    here: Here, ref: str, request: Request, query: Annotated[FileQuestion, Query()],
    asked: Annotated[Questioned | Sent | Unread, Depends(MediaBody(JsonBody(Questioned, numbers=True), ONE_ROW))],
) -> Response:  # fmt: skip
    """What each feature adds to the answer: integrated gradients from the average row, or a black picture, to the row.

    The values sum to `answer` - `baseline`. A PNG, JPEG or WAV as the body is one row, `target` a word of the query
    then. With `Accept: image/png` the first row's, of a model of pictures, is a heat map: red adds, blue takes away.
    """
    served = await in_thread(here.registry.get, ref)
    rows, target = _question(asked, query)
    found = await in_thread(attributed, served, rows, target)
    if _PNG in request.headers.get("accept", ""):
        body = await in_thread(heat_map, found[0].values)
        return Response(body, headers={MODEL_HEADER: served.id}, media_type=_PNG)
    return reply(AttributionsView(model=served.id, attributions=[AttributionView.of(each) for each in found]))


def _question(asked: Questioned | Sent | Unread, query: FileQuestion) -> tuple[list[Any], str | None]:
    """(the rows, what of their answers to explain)"""
    if isinstance(asked, Questioned):
        query.refuse()
        return asked.rows, asked.target
    assert isinstance(asked, Sent)  # no type is left unread here
    return [asked.body], query.target
