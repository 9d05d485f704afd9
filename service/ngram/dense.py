"""A distribution that is written out, word by word."""

from __future__ import annotations

import random
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import START, UNKNOWN
from service.ngram.distribution import LN10, Distribution, Ranked, bands_of, pick, top
from service.ngram.trie import F32
from service.ngram.vocabulary import U32


class Dense(Distribution):
    """`logs`: log10 p of every word by id, the unknown one too."""

    def __init__(self, logs: F32) -> None:
        self._logs = logs

    def log10(self, word: int) -> float:
        return float(self._logs[word])

    def dense(self) -> F32:
        return self._possible

    @cached_property
    def _possible(self) -> F32:
        logs = self._logs.copy()
        logs[[UNKNOWN, START]] = -np.inf
        return logs

    @cached_property
    def _weights(self) -> tuple[F32, NDArray[np.float64]]:
        weights = np.exp(self._possible * np.float32(LN10))
        return weights, bands_of(weights)

    def draw(self, dice: random.Random) -> int:
        weights, bands = self._weights
        return pick(weights, bands, dice.random() * float(bands[-1]))

    def best(self, count: int, among: U32 | None = None) -> Ranked:
        logs = self._possible if among is None else self._possible[among]
        places = top(logs, count)
        places = places[np.isfinite(logs[places])]
        order = places[np.lexsort((places, -logs[places]))]
        words = order if among is None else among[order]
        return list(zip(words.tolist(), logs[order].tolist(), strict=True))
