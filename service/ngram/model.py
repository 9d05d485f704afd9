"""A trained n-gram model over the arrays of its file: look-ups, distributions, scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidData
from service.ngram.artifact import FORMAT
from service.ngram.contract import END, START, UNKNOWN
from service.ngram.dense import Dense
from service.ngram.explanation import Backoff, Explanation
from service.ngram.ladder import Base, Ladder, Rung
from service.ngram.language import Static
from service.ngram.numbering import Fixed
from service.ngram.reader import Reader, Text, blocks
from service.ngram.score import TokenScores, score_stream
from service.ngram.spec import NgramSpec
from service.ngram.trie import Trie
from service.ngram.vocabulary import U32, Vocabulary
from service.tensors import Tensors

State = tuple[int, ...]
"""What the model remembers: the nodes of the last one, two, ... words, as far as they are n-grams of the model."""


class Model(Static[State]):
    """Read-only over its arrays, which may be a memory map shared by processes; safe to use from several threads."""

    def __init__(self, tensors: Tensors) -> None:
        if tensors.metadata.get("kind") != "ngram" or tensors.metadata.get("format") != FORMAT:
            raise InvalidData("this file is no n-gram model of a known format")
        self.spec = NgramSpec.model_validate_json(tensors.metadata["spec"])
        self.facts: dict[str, Any] = json.loads(tensors.metadata["facts"])
        self.vocabulary = Vocabulary(tensors.arrays)
        self.trie = Trie(tensors.arrays, self.spec.order)
        self.numbering = Fixed(self.vocabulary, self.spec.tokenizer.unit)
        ranking: U32 = tensors.arrays["ranking"]
        self._base = Base(Dense(self.trie.unigrams), ranking)
        self.uniform: float | None = None
        if self.spec.smoothing.to_uniform:
            self.uniform = -math.log10(len(self.vocabulary) - 1)
            self._flat = Base(Dense(np.full(len(self.vocabulary), self.uniform, np.float32)), ranking)

    def sizes(self) -> tuple[int, ...]:
        """How many n-grams of each order."""
        return self.trie.sizes()

    def start(self) -> State:
        """The state at the beginning of a sentence."""
        return (START,)

    def advance(self, state: State, word: int) -> State:
        """The state after one more word; a sentence's end leads to the start of the next."""
        if word == END:
            return self.start()
        nodes = [word]
        for level, node in enumerate(state[: self.spec.order - 2], 1):
            node = self.trie.child(level, node, word)
            if node < 0:
                break
            nodes.append(node)
        return tuple(nodes)

    def after(self, words: Sequence[int]) -> State:
        """Only the last words can matter."""
        reach = self.spec.order - 1
        state = self.start() if len(words) < reach else ()
        for word in words[max(0, len(words) - reach) :]:
            state = self.advance(state, word)
        return state

    def distribution(self, state: State) -> Ladder:
        """Of the next word."""
        rungs, above, base = [], 0.0, self._base
        for level in range(min(len(state), self.spec.order - 1), 0, -1):
            low, high = self.trie.children(level, state[level - 1])
            if high > low:
                rungs.append(Rung(level + 1, low, high, above))
                above += self.trie.weight(level, state[level - 1])
                if self.uniform is not None:
                    base = self._flat
                    break
        return Ladder(self.trie, rungs, above, base)

    def probabilities(self, state: State) -> NDArray[np.float64]:
        """p of every word of the vocabulary after `state`, by id; sums to one. <s> has none."""
        ladder = self.distribution(state)
        p = 10.0 ** ladder.dense().astype(np.float64)
        p[UNKNOWN] = 10.0 ** ladder.log10(UNKNOWN)
        return p

    def explain(self, state: State, history: Sequence[int], word: int) -> Explanation:
        """Which n-gram says so, and which longer contexts it was never seen after."""
        known = "imported" not in self.facts
        backoffs: list[Backoff] = []
        for level in range(min(len(state), self.spec.order - 1), 0, -1):
            node = state[level - 1]
            low, high = self.trie.children(level, node)
            if low == high:
                continue
            found = self.trie.search(level + 1, low, high, word)
            if found >= 0:
                ngram = self._texts([*history[-level:], word])
                return Explanation(
                    ngram,
                    self.trie.log10(level + 1, found),
                    self.trie.count(level + 1, found) if known else None,
                    tuple(backoffs),
                )
            context = self._texts(history[-level:])
            count = self.trie.count(level, node) if known else None
            backoffs.append(Backoff(context, self.trie.weight(level, node), count))
            if self.uniform is not None:
                return Explanation((), self.uniform, None, tuple(backoffs))
        count = self.trie.count(1, word) if known else None
        return Explanation(self._texts([word]), self.trie.log10(1, word), count, tuple(backoffs))

    def _texts(self, words: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.vocabulary.token(word).decode("utf-8", "replace") for word in words)

    def token_scores(self, text: str | Text) -> Iterator[TokenScores]:
        """Every token of a text, in batches of whole sentences."""
        for ids in streams(self.spec, self.numbering, text):
            yield score_stream(self.trie, ids, self.uniform)


def streams(spec: NgramSpec, numbering: Fixed, text: str | Text) -> Iterator[U32]:
    """The ids of a text, END after each sentence, in batches of whole sentences."""
    reader = Reader(spec, numbering)
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    carried = np.zeros(0, np.uint32)
    for block in blocks(data):
        ids = np.concatenate([carried, reader.read(block)])
        ends = np.flatnonzero(ids == END)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        carried = ids[cut:]
        if cut:
            yield ids[:cut]
    rest = np.concatenate([carried, reader.close()])
    if len(rest):
        yield rest
