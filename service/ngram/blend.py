"""Distributions mixed by weights: p(w) = sum of weight times p of each part."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.ngram.dense import Dense
from service.ngram.distribution import LN10, Distribution, Ranked
from service.ngram.trie import F32
from service.ngram.vocabulary import U32

_MOST = 1 << 16  # words of a part looked at before the whole distribution is written out


class Blend(Distribution):
    """Parts over one vocabulary, and the weight of each; weights sum to one."""

    def __init__(self, parts: Sequence[tuple[float, Distribution]]) -> None:
        self.parts = parts

    def log10(self, word: int) -> float:
        p = math.fsum(weight * 10.0 ** part.log10(word) for weight, part in self.parts)
        return math.log10(p) if p > 0 else -math.inf

    def draw(self, dice: random.Random) -> int:
        point = dice.random()
        for weight, part in self.parts:
            if point < weight:
                return part.draw(dice)
            point -= weight
        return self.parts[0][1].draw(dice)

    def best(self, count: int, among: U32 | None = None) -> Ranked:
        """Fagin's threshold: longer and longer heads of all parts, until no word behind them can be better."""
        length = 4 * count
        while length <= _MOST:
            heads = [(weight, part.best(length, among)) for weight, part in self.parts]
            words = {word for _, head in heads for word, _ in head}
            best = ranked([(word, self.log10(word)) for word in words], count)
            behind = math.fsum(weight * 10.0 ** head[-1][1] for weight, head in heads if len(head) == length)
            if behind == 0 or (len(best) == count and 10.0 ** best[-1][1] >= behind):
                return best
            length *= 8
        return Dense(self.dense()).best(count, among)

    def dense(self) -> F32:
        total = sum(np.float32(weight) * np.exp(part.dense() * np.float32(LN10)) for weight, part in self.parts)
        with np.errstate(divide="ignore"):
            logs: F32 = np.log10(total)
        return logs


class Sparse(Distribution):
    """Only some words, with weights that sum to `total`."""

    def __init__(self, weights: Mapping[int, float], total: float, vocabulary: int) -> None:
        self.weights, self.total, self.vocabulary = weights, total, vocabulary

    def log10(self, word: int) -> float:
        weight = self.weights.get(word, 0.0)
        return math.log10(weight / self.total) if weight > 0 else -math.inf

    def draw(self, dice: random.Random) -> int:
        return dice.choices(list(self.weights), list(self.weights.values()))[0]

    def best(self, count: int, among: U32 | None = None) -> Ranked:
        inside = self.weights if among is None else self.weights.keys() & set(among.tolist())
        return ranked([(word, self.log10(word)) for word in inside], count)

    def dense(self) -> F32:
        logs = np.full(self.vocabulary, -np.inf, np.float32)
        words = np.fromiter(self.weights, np.int64, len(self.weights))
        logs[words] = [self.log10(word) for word in words.tolist()]
        return logs


def ranked(words: Ranked, count: int) -> Ranked:
    """The best first, equals by id."""
    return sorted(words, key=lambda pair: (-pair[1], pair[0]))[:count]


def fit(parts: NDArray[np.float64], rounds: int = 100) -> NDArray[np.float64]:
    """The weights under which events are most probable, by expectation maximisation. parts: (events, parts)."""
    weights = np.full(parts.shape[1], 1 / parts.shape[1])
    for _ in range(rounds):
        shares = parts * weights
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        before, weights = weights, shares.mean(axis=0)
        if np.abs(weights - before).max() < 1e-6:
            break
    return weights
