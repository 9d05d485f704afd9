"""A distribution that is written out, word by word."""

from __future__ import annotations

import random
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, START, UNKNOWN
from service.ngram.distribution import LN10, Distribution, Ranked, bands_of, pick, top
from service.ngram.trie import F32


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

    def best(self, count: int, first: int = END, end: int | None = None) -> Ranked:
        logs = self._possible[first:end]
        words = top(logs, count)
        words = words[np.isfinite(logs[words])]
        order = words[np.lexsort((words, -logs[words]))]
        return list(zip((order + first).tolist(), logs[order].tolist(), strict=True))
