"""Scoring whole texts at once: every token is looked up in array code, order by order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, START, UNKNOWN
from service.ngram.trie import Trie
from service.ngram.vocabulary import U32


@dataclass(frozen=True)
class Score:
    """Of a text. tokens: words and sentence ends, as KenLM counts; oov: words that are not in the vocabulary."""

    log10_prob: float
    log10_prob_oov: float
    tokens: int
    oov: int
    sentences: int

    @property
    def perplexity(self) -> float | None:
        """10 ** (-log10 p / tokens), unknown words as <unk>; None for no tokens."""
        return _perplexity(self.log10_prob, self.tokens)

    @property
    def perplexity_excluding_oov(self) -> float | None:
        """The same without the unknown words themselves (they still stand in the contexts of others)."""
        return _perplexity(self.log10_prob - self.log10_prob_oov, self.tokens - self.oov)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.log10_prob + other.log10_prob,
            self.log10_prob_oov + other.log10_prob_oov,
            self.tokens + other.tokens,
            self.oov + other.oov,
            self.sentences + other.sentences,
        )


NOTHING = Score(0.0, 0.0, 0, 0, 0)


def _perplexity(log10: float, tokens: int) -> float | None:
    return 10.0 ** min(-log10 / tokens, 300.0) if tokens else None


@dataclass(frozen=True)
class TokenScores:
    """Per token of a stream (sentence ends included): its id, log10 p, and the order of the n-gram that was found."""

    ids: U32
    log10: NDArray[np.float32]
    matched: NDArray[np.uint8]

    def total(self) -> Score:
        unknown = self.ids == UNKNOWN
        oov = float(self.log10[unknown].sum(dtype=np.float64))
        ends = int(np.count_nonzero(self.ids == END))
        total = float(self.log10.sum(dtype=np.float64))
        return Score(total, oov, len(self.ids), int(np.count_nonzero(unknown)), ends)


def score_stream(trie: Trie, ids: U32, uniform: float | None) -> TokenScores:
    """Scores what follows a sentence start; `uniform`: log10 of what backoffs lead to, None: the shorter context."""
    log10 = trie.logp[1][ids]
    matched = np.ones(len(ids), np.uint8)
    context = np.concatenate([np.full(1, START, np.uint32), ids[:-1]]).astype(np.int64)
    context[context == END] = START
    for level in range(1, trie.order):
        here = np.flatnonzero(context >= 0)
        nodes = find_children(trie, level, context[here], ids[here])
        found = nodes >= 0
        hit, missed = here[found], here[~found]
        log10[hit] = trie.logp[level + 1][nodes[found]]
        matched[hit] = level + 1
        if uniform is None:
            log10[missed] += trie.backoff[level][context[missed]]
        else:
            first = trie.first[level]
            fed = missed[first[context[missed] + 1] > first[context[missed]]]
            log10[fed] = uniform + trie.backoff[level][context[fed]]
        after = hit[(ids[hit] != END) & (hit + 1 < len(ids))] + 1
        context = np.full(len(ids), -1)
        context[after] = nodes[found][(ids[hit] != END) & (hit + 1 < len(ids))]
    return TokenScores(ids, log10, matched)


def find_children(trie: Trie, level: int, parents: NDArray[np.int64], words: U32) -> NDArray[np.int64]:
    """The child of each parent with each word, -1 where there is none: all binary searches side by side."""
    first, stored = trie.first[level], trie.words[level + 1]
    low, high = first[parents].astype(np.int64), first[parents + 1].astype(np.int64)
    end = high.copy()
    while len(open_ := np.flatnonzero(low < high)):
        middle = (low[open_] + high[open_]) >> 1
        below = stored[middle] < words[open_]
        low[open_[below]] = middle[below] + 1
        high[open_[~below]] = middle[~below]
    found = low < end
    found[found] = stored[low[found]] == words[found]
    return np.where(found, low, -1)
