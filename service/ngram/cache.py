"""A cache beside a model: words used lately come again (Kuhn and De Mori 1990), here single words and pairs, fading.

    p(w | h) = (1 - u - b) p_model(w | h) + u C(w) / C + b C(v w) / C(v)        v: the word before

C counts the text so far, each use worth `decay` times as much after every further word. A cache that holds nothing
leaves its share to the model. The unknown word is not cached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.ngram.blend import Blend, Sparse, fit
from service.ngram.contract import START, UNKNOWN, Spec
from service.ngram.distribution import Distribution
from service.ngram.explanation import Explanation
from service.ngram.language import LanguageModel, Static
from service.ngram.reader import Text
from service.ngram.score import NOTHING, Score, TokenScores

K = TypeVar("K")
_DECAYS = (0.99, 0.995, 0.998, 0.999, 0.9995)
_FORGOTTEN = 1e-9  # a weight so much smaller than a new one is dropped
_LARGE = 1e100


class Cache(Spec):
    """How a cache is mixed in: `unigram` and `bigram` are its two weights."""

    decay: Annotated[float, Field(ge=0.5, le=1)] = 0.995
    unigram: Annotated[float, Field(ge=0, le=0.5)] = 0.10
    bigram: Annotated[float, Field(ge=0, lt=0.5)] = 0.05


@dataclass
class Fading(Generic[K]):
    """Weights that all fade together: instead of them shrinking, new ones grow."""

    weights: dict[K, float] = field(default_factory=dict)
    total: float = 0.0

    def add(self, key: K, weight: float) -> None:
        self.weights[key] = self.weights.get(key, 0.0) + weight
        self.total += weight

    def share(self, key: K) -> float:
        return self.weights.get(key, 0.0) / self.total if self.total else 0.0

    def shrink(self, factor: float, least: float) -> None:
        """Rescales, and forgets what is below `least`."""
        kept = {key: weight * factor for key, weight in self.weights.items() if weight * factor > least}
        self.weights, self.total = kept, math.fsum(kept.values())


class Memory:
    """What has been used lately."""

    def __init__(self, decay: float) -> None:
        self._growth, self._new, self._added = 1 / decay, 1.0, 0
        self.words: Fading[int] = Fading()
        self.after: dict[int, Fading[int]] = {}

    def add(self, before: int, word: int) -> None:
        """One more word of the text."""
        self._new *= self._growth
        if word != UNKNOWN:
            self.words.add(word, self._new)
            self.after.setdefault(before, Fading()).add(word, self._new)
        self._added += 1
        if self._new > _LARGE or not self._added % 8192:
            self._tidy()

    def _tidy(self) -> None:
        factor = 1 / self._new
        self.words.shrink(factor, _FORGOTTEN)
        for each in self.after.values():
            each.shrink(factor, _FORGOTTEN)
        self.after = {before: each for before, each in self.after.items() if each.weights}
        self._new = 1.0

    def shares(self, before: int, word: int) -> tuple[float | None, float | None]:
        """p of a word by the two caches; None where one holds nothing."""
        after = self.after.get(before)
        return (
            self.words.share(word) if self.words.total else None,
            after.share(word) if after is not None and after.total else None,
        )


@dataclass
class CachedState:
    """The model's state, the word before, and what was used lately. The memory is not copied: a state is used once."""

    inner: Any
    before: int
    memory: Memory


class Cached(LanguageModel[CachedState]):
    """A model that adapts to the text it continues or scores."""

    def __init__(self, model: Static[Any], cache: Cache) -> None:
        self.model, self.cache = model, cache
        self.spec, self.vocabulary = model.spec, model.vocabulary

    def start(self) -> CachedState:
        return CachedState(self.model.start(), START, Memory(self.cache.decay))

    def advance(self, state: CachedState, word: int) -> CachedState:
        state.memory.add(state.before, word)
        return CachedState(self.model.advance(state.inner, word), word, state.memory)

    def explain(self, state: CachedState, history: Sequence[int], word: int) -> Explanation | None:
        """Why the model alone gives the word its probability."""
        return self.model.explain(state.inner, history, word)

    def distribution(self, state: CachedState) -> Distribution:
        parts: list[tuple[float, Distribution]] = []
        size = len(self.vocabulary)
        used = ((self.cache.unigram, state.memory.words), (self.cache.bigram, state.memory.after.get(state.before)))
        for weight, fading in used:
            if weight and fading is not None and fading.total:
                parts.append((weight, Sparse(fading.weights, fading.total, size)))
        rest = 1 - math.fsum(weight for weight, _ in parts)
        return Blend([(rest, self.model.distribution(state.inner)), *parts])

    def score(self, text: str | Text) -> Score:
        """The probability of a whole text; the cache begins empty and goes on over the ends of sentences."""
        total, before, memory = NOTHING, START, Memory(self.cache.decay)
        weights = np.array([1 - self.cache.unigram - self.cache.bigram, self.cache.unigram, self.cache.bigram])
        for scores in self.model.token_scores(text):
            parts, before = _parts(scores, memory, before)
            log10 = np.log10(parts @ weights).astype(np.float32)
            total += TokenScores(scores.ids, log10, scores.matched).total()
        return total


def tune_cache(model: Static[Any], text: str | Text) -> Cache:
    """The decay and weights under which a validation text is most probable; weights of 0 where no cache helps."""
    best, least = Cache(unigram=0.0, bigram=0.0), -sum(float(s.log10.sum()) for s in model.token_scores(text))
    for decay in _DECAYS:
        before, memory, rows = START, Memory(decay), []
        for scores in model.token_scores(text):
            parts, before = _parts(scores, memory, before)
            rows.append(parts)
        events = np.concatenate(rows) if rows else np.ones((1, 3))
        weights = fit(events)
        loss = -float(np.log10(events @ weights).sum())
        if loss < least:
            _, unigram, bigram = (min(float(weight), 0.499) for weight in weights)
            best, least = Cache(decay=decay, unigram=unigram, bigram=bigram), loss
    return best


def _parts(scores: TokenScores, memory: Memory, before: int) -> tuple[NDArray[np.float64], int]:
    """p of each token by the model and the two caches, which learn it then: (tokens, 3); and the last token."""
    parts = np.repeat(10.0 ** scores.log10.astype(np.float64)[:, None], 3, axis=1)
    for row, word in zip(parts, scores.ids.tolist(), strict=True):
        unigram, bigram = memory.shares(before, word)
        if unigram is not None:
            row[1] = unigram
        if bigram is not None:
            row[2] = bigram
        memory.add(before, word)
        before = word
    return parts, before
