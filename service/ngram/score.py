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
    """Scores what follows a sentence start; `uniform`: log10 of what backoffs lead to, None: the shorter context.

    Order by order: those tokens whose context is an n-gram of the model are looked up after it; where that fails, the
    context's backoff is added to what the shorter one said.
    """
    log10 = trie.unigrams[ids]
    matched = np.ones(len(ids), np.uint8)
    here, words, contexts = np.arange(len(ids)), ids, _preceding(ids)
    for level in range(1, trie.order):
        low, high, weights = trie.contexts(level, contexts)
        nodes, found, logs = trie.find(level + 1, low, high, words)
        hit, missed = np.flatnonzero(found), np.flatnonzero(~found if uniform is None else ~found & (low < high))
        lost = here[missed]
        log10[lost] = weights[missed] + (log10[lost] if uniform is None else np.float32(uniform))
        here = here[hit]
        log10[here] = logs[hit]
        matched[here] = level + 1
        on = np.flatnonzero((words[hit] != END) & (here + 1 < len(ids)))
        here, contexts = here[on] + 1, nodes[hit[on]]
        words = ids[here]
    return TokenScores(ids, log10, matched)


def _preceding(ids: U32) -> NDArray[np.int64]:
    """The word before each; START after an END and before the first."""
    before = np.empty(len(ids), np.int64)
    before[:1], before[1:] = START, ids[:-1]
    before[before == END] = START
    return before
