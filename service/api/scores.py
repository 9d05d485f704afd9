"""How well a text model expects a text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from service.api.bodies import JsonBody
from service.api.context import Here, in_thread
from service.api.explain import MAX_EXPLAINED, Explained, Explainer
from service.api.problems import InvalidJson, UnsupportedMedia
from service.api.replies import refuses, reply
from service.api.views.text import CachedScoreView, ScoresView, ScoreView, TextScoreView, TokenScoreView
from service.errors import Conflict, Fault, InvalidSpec, NotFound
from service.ngram import Score, trace
from service.serving import Served, TextModel, adapted, score, settled, static

router = APIRouter(prefix="/v1/scores", tags=["text"])
MAX_TOLD = 100_000
Text = Annotated[str, Field(max_length=1_000_000)]


class ScoreRequest(Explained):
    """One text or several; one line is one sentence, unless the model was trained otherwise.

    `per_token` tells of every token how probable it was. With a `cache` the answer has `with_cache` beside the scores
    of the model as it is.
    """

    text: Text | Annotated[list[Text], Field(min_length=1, max_length=1_000)]
    per_token: bool = False

    def texts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text

    def check(self) -> None:
        """Raises InvalidSpec for an answer that would be too long."""
        length = sum(map(len, self.texts()))
        for wanted, most, option in (
            (self.explained, MAX_EXPLAINED, "explain"),
            (self.per_token, MAX_TOLD, "per_token"),
        ):
            if wanted and length > most:
                message = f"{option} is for texts of up to {most:,} characters, these have {length:,}"
                raise InvalidSpec(message, faults=[Fault("/text", "too_long", message)])


@router.post("", response_model=ScoresView, responses=refuses(InvalidJson, NotFound, Conflict, UnsupportedMedia))
async def scores(here: Here, asked: Annotated[ScoreRequest, Depends(JsonBody(ScoreRequest))]) -> Response:
    """Log-probability and perplexity, with and without words the model does not know."""
    served = here.registry.get(asked.model)
    model = served.text()
    if asked.explained:
        static(model, "explain")
    asked.check()
    explainer = Explainer(here, served, asked.sources) if asked.explained else None
    return reply(await in_thread(_view, served, model, asked, explainer))


def _view(served: Served, model: TextModel, asked: ScoreRequest, explainer: Explainer | None) -> ScoresView:
    texts = asked.texts()
    total, each = score(model, texts)
    adapting = None if asked.cache is None else (adapted(model, asked.cache), settled(model, asked.cache))
    whole, *parts = [_plain(one) for one in (total, *each)]
    caches: list[CachedScoreView | None] = [None] * (len(texts) + 1)
    if adapting is not None:
        total, each = score(adapting[0], texts)
        caches = [CachedScoreView(**_plain(one).model_dump(), cache=adapting[1]) for one in (total, *each)]
    tell = asked.per_token or explainer is not None
    views = [
        TextScoreView(**part.model_dump(), with_cache=cached, per_token=_told(model, text, explainer) if tell else None)
        for text, part, cached in zip(texts, parts, caches[1:], strict=True)
    ]
    return ScoresView(**whole.model_dump(), model=served.id, with_cache=caches[0], texts=views)


def _plain(one: Score) -> ScoreView:
    return ScoreView.model_validate(one)


def _told(model: TextModel, text: str, explainer: Explainer | None) -> list[TokenScoreView]:
    return [
        TokenScoreView(
            text=each.text, offset=each.offset, log10_prob=each.log10_prob, oov=each.oov,
            explanation=explainer.view(each.text, each.explanation) if explainer else None,
        )
        for each in trace(model, text, explainer is not None)
    ]  # fmt: skip
