"""Predictions: raw rows in, as they were uploaded; named answers out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.model import PredictionsView
from service.errors import Conflict, InvalidData, NotFound, TooLarge
from service.serving import SMALL, predict

router = APIRouter(prefix="/v1/models", tags=["models"])
MAX_ROWS = 100_000


class Rows(Body):
    """Rows as they were uploaded: lists in the order of the features, or objects by column name."""

    rows: Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS)]
    top_k: Annotated[int, Field(ge=1, le=1_000)] | None = None


@router.post(
    "/{ref}/predict", response_model=PredictionsView,
    responses=refuses(InvalidJson, InvalidData, NotFound, Conflict, TooLarge, UnsupportedMedia),
)  # fmt: skip
async def predict_rows(here: Here, ref: str, asked: Annotated[Rows, Depends(JsonBody(Rows, numbers=True))]) -> Response:
    """Scaling, encodings and classes found in training are applied; works while other jobs train."""
    served = here.registry.get(ref)
    if len(asked.rows) * served.bytes <= SMALL:
        found = predict(served, asked.rows, asked.top_k)
    else:
        found = await in_thread(predict, served, asked.rows, asked.top_k)
    return reply({"model": served.id, "predictions": found})
