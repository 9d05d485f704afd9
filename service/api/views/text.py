"""What text models say, the completions in OpenAI's shape."""

from __future__ import annotations

from typing import Literal

from service.api.views.base import View
from service.ngram import Cache


class LogprobsView(View):
    """Natural log-probabilities under the model itself, token by token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class BackoffView(View):
    """A context that was given up: the word was never seen after it. count: how often the context was seen."""

    context: list[str]
    log10: float
    count: int | None


class SourceView(View):
    """A place in the training text: its line, from 1, and the words around."""

    line: int
    before: str
    text: str
    after: str


class ExplanationView(View):
    """Why a token has its probability: the longest n-gram seen that ends with it, and what was given up before.

    log10 of the probability is that of the n-gram and of all backoffs together. count: how often the n-gram was seen;
    null when the model cannot know. sources: where, in the training text.
    """

    token: str
    order: int
    ngram: list[str]
    count: int | None
    log10: float
    backoffs: list[BackoffView]
    sources: list[SourceView]


class ChoiceView(View):
    """One continuation. `explanations`: one a token, null unless asked for, and for blanks and what a stop cut off."""

    text: str
    index: int
    logprobs: LogprobsView | None
    finish_reason: Literal["stop", "length"]
    explanations: list[ExplanationView | None] | None


class UsageView(View):
    """Tokens read and drawn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionView(View):
    """Continuations in OpenAI's shape."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[ChoiceView]
    usage: UsageView


class SuggestionView(View):
    """A next word and its probability."""

    text: str
    probability: float


class SuggestionsView(View):
    """The likeliest next words, best first."""

    model: str
    suggestions: list[SuggestionView]


class ScoreView(View):
    """How well a model expects a text. `tokens` counts every word and every sentence end."""

    perplexity: float | None
    perplexity_excluding_oov: float | None
    log10_prob: float
    tokens: int
    oov: int
    sentences: int


class CachedScoreView(ScoreView):
    """The same with a cache beside the model, which learns from the text as it goes, and how that was set."""

    cache: Cache


class TokenScoreView(View):
    """One token: its text with the blanks before it, and log10 of its probability. A sentence's end is </s>."""

    text: str
    offset: int
    log10_prob: float
    oov: bool
    explanation: ExplanationView | None


class TextScoreView(ScoreView):
    """One text. `with_cache` and `per_token` are null unless asked for."""

    with_cache: CachedScoreView | None
    per_token: list[TokenScoreView] | None


class ScoresView(ScoreView):
    """The same for all texts together, then each."""

    model: str
    with_cache: CachedScoreView | None
    texts: list[TextScoreView]
