"""The next words of a text, while it is being typed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.context import Here, in_thread
from service.api.explain import TextRequest, model_of
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.text import SuggestionsView, SuggestionView
from service.errors import Conflict, NotFound

router = APIRouter(prefix="/v1/suggestions", tags=["text"])


class SuggestionRequest(TextRequest):
    """The text so far, the beginning of the word that is being typed, and how many words are wanted."""

    text: Annotated[str, Field(max_length=1_000_000)] = ""
    prefix: Annotated[str, Field(max_length=1_000)] = ""
    k: Annotated[int, Field(ge=1, le=1_000)] = 10


@router.post("", response_model=SuggestionsView, responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia))
async def suggestions(
    here: Here, asked: Annotated[SuggestionRequest, Depends(JsonBody(SuggestionRequest))]
) -> Response:
    """The likeliest next words, best first."""
    served = here.registry.get(asked.model)
    found = await in_thread(model_of(served, asked).suggest, asked.text, asked.prefix, asked.k)
    view = SuggestionsView(model=served.id, suggestions=[SuggestionView.model_validate(each) for each in found])
    return reply(view)
