"""A trained n-gram model over the arrays of its file: look-ups, distributions, scores."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidData
from service.ngram.artifact import FORMAT
from service.ngram.contract import END, START
from service.ngram.generate import DEFAULT, Finished, Generated, Options, Sampling, generate
from service.ngram.numbering import Fixed
from service.ngram.prompt import pieces
from service.ngram.reader import Reader, Text, blocks, normalised
from service.ngram.score import NOTHING, Score, TokenScores, score_stream
from service.ngram.spec import NgramSpec
from service.ngram.trie import Trie
from service.ngram.vocabulary import Vocabulary
from service.tensors import Tensors

State = tuple[int, ...]
"""What the model remembers: the nodes of the last one, two, ... words, as far as they are n-grams of the model."""
LN10 = math.log(10.0)


@dataclass(frozen=True)
class Suggestion:
    """A word that may come next."""

    text: str
    probability: float


class Model:
    """Read-only over its arrays, which may be a memory map shared by processes; safe to use from several threads."""

    def __init__(self, tensors: Tensors) -> None:
        if tensors.metadata.get("kind") != "ngram" or tensors.metadata.get("format") != FORMAT:
            raise InvalidData("this file is no n-gram model of a known format")
        self.spec = NgramSpec.model_validate_json(tensors.metadata["spec"])
        self.facts: dict[str, object] = json.loads(tensors.metadata["facts"])
        self.vocabulary = Vocabulary(tensors.arrays)
        self.trie = Trie(tensors.arrays, self.spec.order)
        self.ranking: NDArray[np.uint32] = tensors.arrays["ranking"]
        self._numbering = Fixed(self.vocabulary, self.spec.tokenizer.unit)
        to_uniform = self.spec.smoothing.to_uniform
        self.uniform = -math.log10(len(self.vocabulary) - 1) if to_uniform else None

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

    def log10(self, state: State, word: int) -> float:
        """log10 p(word | state)."""
        given_up = 0.0
        for level in range(len(self._contexts(state)), 0, -1):
            node = self.trie.child(level, state[level - 1], word)
            if node >= 0:
                return given_up + self.trie.log10(level + 1, node)
            given_up += self.trie.weight(level, state[level - 1])
            if self.uniform is not None and self._fed(level, state):
                return given_up + self.uniform
        return given_up + self.trie.log10(1, word)

    def _contexts(self, state: State) -> State:
        return state[: self.spec.order - 1]

    def _fed(self, level: int, state: State) -> bool:
        low, high = self.trie.children(level, state[level - 1])
        return high > low

    def distribution(self, state: State) -> NDArray[np.float64]:
        """p of every word of the vocabulary after `state`, by id; sums to one. <s> has none."""
        contexts = self._contexts(state)
        logs = self.trie.unigrams.astype(np.float64)
        for level in range(1, len(contexts) + 1):
            low, high = self.trie.children(level, state[level - 1])
            if high == low:
                continue
            weight = self.trie.weight(level, state[level - 1])
            logs = logs + weight if self.uniform is None else np.full_like(logs, self.uniform + weight)
            logs[self.trie.words(level + 1, low, high)] = self.trie.logs(level + 1, low, high)
        logs[START] = -np.inf
        return np.asarray(np.exp(logs * LN10))

    def sample(self, state: State, sampling: Sampling, dice: random.Random) -> int:
        """Draws the next word."""
        p = self.distribution(state)
        if sampling.temperature == 0:
            return int(p.argmax())
        if sampling.temperature != 1:
            p = p ** (1 / sampling.temperature)
        order = np.argsort(-p, kind="stable")
        if sampling.top_k:
            order = order[: sampling.top_k]
        total = np.cumsum(p[order])
        if sampling.top_p < 1:
            total = total[: int(np.searchsorted(total, sampling.top_p * total[-1])) + 1]
        return int(order[np.searchsorted(total, dice.random() * total[-1], side="right")])

    def top(self, state: State, count: int) -> list[tuple[int, float]]:
        """The most probable next words and their log10 p, best first."""
        p = self.distribution(state)
        best = np.argsort(-p, kind="stable")[:count]
        return [(int(word), math.log10(p[word])) for word in best]

    def suggest(self, context: str, prefix: str = "", count: int = 10) -> list[Suggestion]:
        """The most probable next words after `context`, of those that begin with `prefix`."""
        state = self.state_after(context)
        p = self.distribution(state)
        p[END] = 0.0
        if prefix:
            low, high = self.vocabulary.range(normalised(self.spec, prefix).encode())
            p[:low], p[high:] = 0.0, 0.0
        best = np.argsort(-p, kind="stable")[:count]
        return [
            Suggestion(self.vocabulary.token(word).decode("utf-8", "replace"), float(p[word]))
            for word in best
            if p[word] > 0
        ]

    def state_after(self, text: str) -> State:
        """The state after a text that begins a sentence."""
        state = self.start()
        for piece in pieces(self.spec, text):
            word = END if piece.token is None else self.vocabulary.id(piece.token)
            if piece.token != b"" and word != START:
                state = self.advance(state, word)
        return state

    def complete(self, prompt: str, options: Options = DEFAULT) -> Iterator[Generated | Finished]:
        """Continues a text, token by token; see `Options`."""
        return generate(self, prompt, options)

    def score(self, text: str | Text) -> Score:
        """The probability of a whole text, each sentence from its start to its end."""
        return sum((scores.total() for scores in self.token_scores(text)), NOTHING)

    def token_scores(self, text: str | Text) -> Iterator[TokenScores]:
        """The same token by token, in batches of whole sentences."""
        reader = Reader(self.spec, self._numbering)
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        carried = np.zeros(0, np.uint32)
        for block in blocks(data):
            ids = np.concatenate([carried, reader.read(block)])
            ends = np.flatnonzero(ids == END)
            cut = int(ends[-1]) + 1 if len(ends) else 0
            carried = ids[cut:]
            if cut:
                yield score_stream(self.trie, ids[:cut], self.uniform)
        rest = np.concatenate([carried, reader.close()])
        if len(rest):
            yield score_stream(self.trie, rest, self.uniform)
