"""What a text model says of its tokens, as the API tells it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.api.bodies import Body
from service.api.context import Context
from service.api.views.text import BackoffView, ExplanationView, SourceView
from service.ngram import Cache, Explanation
from service.serving import Served, Sources, TextModel, adapted, static

MAX_EXPLAINED = 10_000  # characters: an explanation is some hundred times as long as its token


class TextRequest(Body):
    """What every question to a text model may say.

    `cache` lets an n-gram model adapt to the text so far: words and pairs used lately come again. {} takes the values
    that were tuned for the model (`tune_cache` of its job), or usual ones.
    """

    model: Annotated[str, Field(min_length=1, max_length=300)]
    cache: Cache | None = None


class Explained(TextRequest):
    """`explain` tells of each token of an n-gram model which n-gram gave its probability, how often that was seen, and
    what was given up before. `sources`: how many places in the training text to tell for each n-gram; implies explain.
    """

    explain: bool = False
    sources: Annotated[int, Field(ge=0, le=10)] = 0

    @property
    def explained(self) -> bool:
        return self.explain or self.sources > 0


class Explainer:
    """Turns explanations into views, with their sources."""

    def __init__(self, here: Context, served: Served, sources: int) -> None:
        self._sources = Sources(here.store, served.run_id, sources)

    def view(self, token: str, why: Explanation | None) -> ExplanationView | None:
        if why is None:
            return None
        return ExplanationView(
            token=token, order=why.order, ngram=list(why.ngram), count=why.count, log10=why.log10,
            backoffs=[BackoffView(context=list(b.context), log10=b.log10, count=b.count) for b in why.backoffs],
            sources=[SourceView.model_validate(each) for each in self._sources.find(why.ngram)],
        )  # fmt: skip


def model_of(served: Served, asked: TextRequest) -> TextModel:
    """The model that is asked. Raises InvalidSpec when it takes no text, or cannot do what is asked."""
    model = served.text()
    if isinstance(asked, Explained) and asked.explained:
        static(model, "explain")
    return adapted(model, asked.cache)
