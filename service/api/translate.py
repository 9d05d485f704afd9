"""Models of other programs that are told as JSON, answered as specs of ours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.job import TranslatedView
from service.errors import InvalidSpec
from service.exchange import Translated, from_keras

router = APIRouter(prefix="/v1/specs", tags=["jobs"])
Sent = Annotated[Translated, Depends(JsonBody(dict[str, Any], from_keras))]


@router.post("/import", response_model=TranslatedView, responses=refuses(InvalidJson, InvalidSpec, UnsupportedMedia))
async def import_spec(sent: Sent) -> Response:
    """What Keras' `model.to_json()` gave, of a Sequential model of Keras 2 or 3, as a spec: layers, loss, optimizer.

    Keras' defaults are told as they are there. A setting without a counterpart is refused at its place. Weights do not
    stand in that JSON: they come in as ONNX, by POST /v1/runs/import.
    """
    return reply(TranslatedView.model_validate(sent))
