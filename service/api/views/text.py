"""What text models say, the completions in OpenAI's shape."""

from __future__ import annotations

from typing import Literal

from service.api.views.base import View


class LogprobsView(View):
    """Natural log-probabilities under the model itself, token by token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class ChoiceView(View):
    """One continuation."""

    text: str
    index: int
    logprobs: LogprobsView | None
    finish_reason: Literal["stop", "length"]


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


class ScoresView(ScoreView):
    """The same for all texts together, then each."""

    model: str
    texts: list[ScoreView]
