"""Text models: continuations of prompts, next words, and how well a text is expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from secrets import randbits
from typing import Any, Literal

from service.ngram import Finished, Generated, LanguageModel, Options, Score

_SEED_BITS = 62


@dataclass(frozen=True, slots=True)
class Choice:
    """One continuation: its tokens, why it ended, how many tokens were read and drawn for it."""

    index: int
    tokens: tuple[Generated, ...]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    def likelihood(self) -> float:
        """Mean log-probability of what was drawn, to find the best of several."""
        drawn = [token.logprob for token in self.tokens if not token.prompt and token.logprob is not None]
        return sum(drawn) / len(drawn) if drawn else 0.0


def seeds(options: Options, count: int) -> list[Options]:
    """The options of several continuations: each with a seed of its own, all following from the given one."""
    first = randbits(_SEED_BITS) if options.seed is None else options.seed
    return [replace(options, seed=(first + i) % (1 << 63)) for i in range(count)]


def complete(
    model: LanguageModel[Any], prompts: Sequence[str], options: Options, n: int = 1, best_of: int | None = None
) -> list[Choice]:
    """`n` continuations of each prompt, the prompts' in their order; with `best_of` the likeliest n of so many."""
    count = best_of or n
    wanted = options if count == n or options.logprobs is not None else replace(options, logprobs=0)
    choices: list[Choice] = []
    for prompt in prompts:
        made = [continued(model, prompt, each, 0) for each in seeds(wanted, count)]
        best = sorted(made, key=Choice.likelihood, reverse=True)[:n] if count > n else made
        choices += [replace(each, index=len(choices) + i) for i, each in enumerate(best)]
    return choices


def continued(model: LanguageModel[Any], prompt: str, options: Options, index: int) -> Choice:
    """One continuation, whole."""
    tokens: list[Generated] = []
    for each in model.complete(prompt, options):
        if isinstance(each, Finished):
            return Choice(index, tuple(tokens), each.reason, each.prompt_tokens, each.completion_tokens)
        tokens.append(each)
    raise AssertionError("a completion ends with Finished")


def stream(
    model: LanguageModel[Any], prompts: Sequence[str], options: Options, n: int
) -> Iterator[tuple[int, Generated | Finished]]:
    """The same token by token, with the index of the choice: one choice after the other."""
    index = 0
    for prompt in prompts:
        for each in seeds(options, n):
            for token in model.complete(prompt, each):
                yield index, token
            index += 1


def score(model: LanguageModel[Any], texts: Sequence[str]) -> tuple[Score, list[Score]]:
    """All together, and each; one line is one sentence."""
    each = [model.score(text) for text in texts]
    return sum(each[1:], each[0]), each
