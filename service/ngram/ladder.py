"""The distribution of an n-gram model after a context, without writing it out.

A context's continuations are its own; every other word has what the next shorter context says, times its backoff. So a
distribution is a ladder of rungs, longest context first, each an interval of n-grams, down to the single words.
A word on a longer rung is on all shorter ones too: n-grams are stored with their suffixes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, UNKNOWN
from service.ngram.dense import Dense
from service.ngram.distribution import ATTEMPTS, LN10, Distribution, Ranked, bands_of, pick, top
from service.ngram.trie import F32, Trie
from service.ngram.vocabulary import U32


class Base(NamedTuple):
    """The distribution below all rungs, and its words from the most probable one down."""

    words: Dense
    ranking: U32


class Rung(NamedTuple):
    """The n-grams low to high of `level` continue a context; `above`: log10 of the backoffs of all longer contexts."""

    level: int
    low: int
    high: int
    above: float


class Ladder(Distribution):
    """After one context. `floor`: log10 of all backoffs, the share the base has of it."""

    def __init__(self, trie: Trie, rungs: Sequence[Rung], floor: float, base: Base) -> None:
        self.trie, self.rungs, self.floor, self.base = trie, rungs, floor, base

    def log10(self, word: int) -> float:
        for level, low, high, above in self.rungs:
            node = self.trie.search(level, low, high, word)
            if node >= 0:
                return above + self.trie.log10(level, node)
        return self.floor + self.base.words.log10(word)

    def dense(self) -> F32:
        logs = self.base.words.dense() + np.float32(self.floor)
        for level, low, high, above in reversed(self.rungs):
            logs[self.trie.words(level, low, high)] = self.trie.logs(level, low, high) + np.float32(above)
        logs[UNKNOWN] = -np.inf
        return logs

    def draw(self, dice: random.Random) -> int:
        for _ in range(ATTEMPTS):
            if (word := self._draw(dice, 0)) != UNKNOWN:
                return word
        return END

    def _draw(self, dice: random.Random, start: int) -> int:
        """From rung `start` down: one of its own words, or with the rest of its mass one that only shorter ones have.

        A word drawn lower that is on this rung too does not count. On average that takes as many draws as the backoff,
        fewer than one.
        """
        if start == len(self.rungs):
            return self.base.words.draw(dice)
        level, low, high, _ = self.rungs[start]
        weights = np.exp(self.trie.logs(level, low, high) * np.float32(LN10))
        bands, point = bands_of(weights), dice.random()
        if point < bands[-1]:
            return self.trie.word(level, low + pick(weights, bands, point))
        for _ in range(ATTEMPTS):
            word = self._draw(dice, start + 1)
            if self.trie.search(level, low, high, word) < 0:
                return word
        return self.trie.word(level, low + int(weights.argmax()))  # rounding left mass where there is no word

    def best(self, count: int, among: U32 | None = None) -> Ranked:
        wanted = None
        if among is not None:
            wanted = np.zeros(self.trie.vocabulary, bool)
            wanted[among] = True
        words, logs = self._explicit()
        if wanted is not None:
            inside = wanted[words]
            words, logs = words[inside], logs[inside]
        best = top(logs, count)
        least = float(logs[best].min()) if len(best) == count else -math.inf
        others = self._others(count, wanted, words, least - self.floor)
        words = np.concatenate([words[best], others])
        logs = np.concatenate([logs[best], self.base.words.dense()[others] + np.float32(self.floor)])
        order = np.lexsort((words, -logs))[:count]
        return list(zip(words[order].tolist(), logs[order].tolist(), strict=True))

    def _explicit(self) -> tuple[U32, F32]:
        """The words on any rung, sorted, and log10 p."""
        words, logs = np.zeros(0, np.uint32), np.zeros(0, np.float32)
        for level, low, high, above in reversed(self.rungs):
            here, said = self.trie.words(level, low, high), self.trie.logs(level, low, high) + np.float32(above)
            if len(words):
                logs[words.searchsorted(here)] = said
            else:
                words, logs = here, said
        return words, logs

    def _others(self, count: int, wanted: NDArray[np.bool_] | None, but: U32, least: float) -> U32:
        """The best words of the base that are not on a rung, if they have more than `least` there."""
        base = self.base.words.dense()
        if wanted is None:  # the best are known
            few = self.base.ranking[: count + 64]
            last = float(base[few[-1]])
            few = few[base[few] > least]
            left = few[~_among(few, but)]
            if len(left) >= count or last <= least:
                return left[:count]
        over = base > least
        if wanted is not None:
            over &= wanted
        over[but] = False
        which = np.flatnonzero(over)
        return which[top(base[which], count)].astype(np.uint32)


def _among(some: U32, sorted_words: U32) -> NDArray[np.bool_]:
    if not len(sorted_words):
        return np.zeros(len(some), bool)
    places = np.minimum(sorted_words.searchsorted(some), len(sorted_words) - 1)
    return np.equal(sorted_words[places], some)
