"""Two or more models mixed by weights, which are tuned on a validation text.

The mixture knows the words of all. A model's unknown word stands for those of them it does not know and for those none
knows: they share its probability, so that each part sums to one over the same words and the mixture too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidSpec
from service.ngram.blend import Blend, fit, ranked
from service.ngram.contract import RESERVED, UNKNOWN
from service.ngram.distribution import Distribution, Ranked
from service.ngram.explanation import Explanation
from service.ngram.language import Static
from service.ngram.model import Model, State, streams
from service.ngram.numbering import Fixed
from service.ngram.reader import Text
from service.ngram.score import TokenScores, score_stream
from service.ngram.spec import NgramSpec, Reading
from service.ngram.trie import F32
from service.ngram.vocabulary import U32, Vocabulary, arranged, arrays_of, digest
from service.tensors import Array


class Renaming:
    """Between the ids of a model and the mixture's; both are `arranged` alike, so it keeps order."""

    def __init__(self, ours: U32, vocabulary: int) -> None:
        self.ours = ours
        self.theirs = np.zeros(vocabulary, np.uint32)
        self.theirs[ours] = np.arange(len(ours), dtype=np.uint32)
        self.strangers: NDArray[np.int64] = np.flatnonzero(self.theirs == UNKNOWN)[1:]
        self.share = -math.log10(len(self.strangers) + 1)


class Renamed(Distribution):
    """A model's distribution over the mixture's words."""

    def __init__(self, part: Distribution, names: Renaming) -> None:
        self.part, self.names = part, names

    def log10(self, word: int) -> float:
        known = int(self.names.theirs[word])
        return self.part.log10(known) + (0.0 if known else self.names.share)

    def draw(self, dice: random.Random) -> int:
        strangers = self.names.strangers
        point = dice.random() / 10.0 ** self._stranger() if len(strangers) else math.inf
        return int(strangers[int(point)]) if point < len(strangers) else int(self.names.ours[self.part.draw(dice)])

    def best(self, count: int, among: U32 | None = None) -> Ranked:
        own, strangers = None, self.names.strangers
        if among is not None:
            own = self.names.theirs[among]
            own, strangers = own[own != UNKNOWN], among[own == UNKNOWN].astype(np.int64)
        known = [(int(self.names.ours[word]), log) for word, log in self.part.best(count, own)]
        return ranked(known + [(word, self._stranger()) for word in strangers[:count].tolist()], count)

    def dense(self) -> F32:
        logs = np.full(len(self.names.theirs), self._stranger(), np.float32)
        logs[self.names.ours] = self.part.dense()
        return logs

    def _stranger(self) -> float:
        return self.part.log10(UNKNOWN) + self.names.share


class Common(NamedTuple):
    """What models of a mixture have in common: the arrays of a vocabulary of all their words, and by model where each
    of its own words stands there."""

    vocabulary: Mapping[str, Array]
    ours: Sequence[U32]


class Mixture(Static[tuple[State, ...]]):
    """p(w | h) = sum of weight times p of each model; weights sum to one."""

    def __init__(self, models: Sequence[Model], weights: Sequence[float], common: Common | None = None) -> None:
        if len(models) != len(weights) or abs(math.fsum(weights) - 1) > 1e-6 or min(weights) < 0:
            raise InvalidSpec("a mixture needs a weight for each model, none below 0, 1 in all")
        self.models, self.weights = tuple(models), tuple(weights)
        self.spec = max((model.spec for model in models), key=lambda spec: spec.order)
        check_alike([model.spec for model in models])
        self.common = common or _common(models)
        self.vocabulary = Vocabulary(self.common.vocabulary)
        self.names = [Renaming(ours, len(self.vocabulary)) for ours in self.common.ours]
        self.facts = {}
        self._numbering = Fixed(self.vocabulary, self.spec.tokenizer.unit)

    def start(self) -> tuple[State, ...]:
        return tuple(model.start() for model in self.models)

    def advance(self, state: tuple[State, ...], word: int) -> tuple[State, ...]:
        each = zip(self.models, self.names, state, strict=True)
        return tuple(model.advance(own, int(names.theirs[word])) for model, names, own in each)

    def after(self, words: Sequence[int]) -> tuple[State, ...]:
        last = words[max(0, len(words) - self.spec.order) :]
        each = zip(self.models, self.names, strict=True)
        return tuple(model.after([int(names.theirs[word]) for word in last]) for model, names in each)

    def distribution(self, state: tuple[State, ...]) -> Distribution:
        each = zip(self.weights, self.models, self.names, state, strict=True)
        return Blend([(weight, Renamed(model.distribution(own), names)) for weight, model, names, own in each])

    def explain(self, state: tuple[State, ...], history: Sequence[int], word: int) -> Explanation:
        """As of the model that says most for the word."""
        each = list(zip(self.weights, self.models, self.names, state, strict=True))
        _, model, names, own = max(
            each, key=lambda one: one[0] * 10.0 ** one[1].log10(one[3], int(one[2].theirs[word]))
        )
        return model.explain(own, [int(names.theirs[each]) for each in history], int(names.theirs[word]))

    def token_scores(self, text: str | Text) -> Iterator[TokenScores]:
        weights = np.array(self.weights)
        for ids, parts in self._parts(text):
            yield TokenScores(ids, np.log10(parts @ weights).astype(np.float32), np.zeros(len(ids), np.uint8))

    def _parts(self, text: str | Text) -> Iterator[tuple[U32, NDArray[np.float64]]]:
        """Batches of a text: ids, and p of each token by each model (tokens, models)."""
        for ids in streams(self.spec, self._numbering, text):
            columns = []
            for model, names in zip(self.models, self.names, strict=True):
                own = names.theirs[ids]
                log10 = score_stream(model.trie, own, model.uniform).log10.astype(np.float64)
                columns.append(10.0 ** (log10 + names.share * (own == UNKNOWN)))
            yield ids, np.stack(columns, axis=1)


def check_alike(specs: Sequence[NgramSpec]) -> None:
    """Raises InvalidSpec unless models of these specs can be mixed."""
    for spec in specs[1:]:
        for name in sorted(Reading.model_fields):
            if getattr(spec, name) != getattr(specs[0], name):
                raise InvalidSpec(
                    f"the models of a mixture must read text the same way; they differ in {name}",
                    hint="Train one of them again with the other's options.",
                )


def tune_mixture(models: Sequence[Model], text: str | Text) -> Mixture:
    """The mixture under which a validation text is most probable."""
    even = Mixture(models, [1 / len(models)] * len(models))
    batches = [parts for _, parts in even._parts(text)]
    weights = fit(np.concatenate(batches)) if batches else np.array(even.weights)
    return Mixture(models, (weights / weights.sum()).tolist(), even.common)


def _common(models: Sequence[Model]) -> Common:
    own = [[model.vocabulary.token(word) for word in range(len(model.vocabulary))] for model in models]
    found = [*RESERVED, *set(chain.from_iterable(own)).difference(RESERVED)]
    keys = np.array([digest(token) for token in found], np.uint64)
    order = arranged(keys)
    tokens = [found[at] for at in order.tolist()]
    ids = {token: number for number, token in enumerate(tokens)}
    ours = [np.array([ids[token] for token in each], np.uint32) for each in own]
    return Common(arrays_of(tokens, keys[order]), ours)
