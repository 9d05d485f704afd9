"""How well a text model expects a text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import Body, JsonBody
from service.api.context import Here, in_thread
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.text import ScoresView, ScoreView
from service.errors import Conflict, NotFound
from service.serving import score

router = APIRouter(prefix="/v1/scores", tags=["text"])
Text = Annotated[str, Field(max_length=1_000_000)]


class ScoreRequest(Body):
    """One text or several; one line is one sentence."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    text: Text | Annotated[list[Text], Field(min_length=1, max_length=1_000)]


@router.post("", response_model=ScoresView, responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia))
async def scores(here: Here, asked: Annotated[ScoreRequest, Depends(JsonBody(ScoreRequest))]) -> Response:
    """Log-probability and perplexity, with and without words the model does not know."""
    served = here.registry.get(asked.model)
    texts = [asked.text] if isinstance(asked.text, str) else asked.text
    total, each = await in_thread(score, served.text(), texts)
    whole = ScoreView.model_validate(total)
    view = ScoresView(**whole.model_dump(), model=served.id, texts=[ScoreView.model_validate(one) for one in each])
    return reply(view)
