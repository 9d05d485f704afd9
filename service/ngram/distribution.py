"""What the next word may be: a distribution that can be drawn from, ranked, or written out."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.trie import F32
from service.ngram.vocabulary import U32

LN10 = math.log(10.0)
ATTEMPTS = 64
"""How often a draw that does not count is repeated; then rounding has left mass where there is no word."""
_BAND = 512

Ranked = list[tuple[int, float]]
"""Words and their log10 p, the most probable first."""


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. temperature 0 takes the most probable one; top_k 0 and top_p 1 leave none out."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


class Distribution(ABC):
    """Over the words that can come next: neither <s> nor the unknown word is ever drawn or ranked."""

    @abstractmethod
    def log10(self, word: int) -> float:
        """log10 p of a word, the unknown one too."""

    @abstractmethod
    def draw(self, dice: random.Random) -> int:
        """A word."""

    @abstractmethod
    def best(self, count: int, among: U32 | None = None) -> Ranked:
        """The most probable words, of these ids only (rising) if they are given; equals by id."""

    @abstractmethod
    def dense(self) -> F32:
        """log10 p of every word, by id; minus infinity for those that cannot come."""

    def sample(self, sampling: Sampling, dice: random.Random) -> int:
        """Draws a word: the temperature changes the odds, then top_k and top_p leave words out."""
        if sampling.temperature == 0:
            return self.best(1)[0][0]
        if sampling.top_k:
            return self._draw_top(sampling, dice)
        if sampling.temperature == 1 and sampling.top_p == 1:
            return self.draw(dice)
        weights = np.exp(self.dense() * np.float32(LN10 / sampling.temperature))
        if sampling.top_p < 1:
            return _draw_nucleus(weights, sampling.top_p, dice)
        bands = bands_of(weights)
        return pick(weights, bands, dice.random() * float(bands[-1]))

    def _draw_top(self, sampling: Sampling, dice: random.Random) -> int:
        best = self.best(sampling.top_k)
        logs = np.array([log for _, log in best])
        masses = np.exp((logs - logs[0]) * (LN10 / sampling.temperature)).cumsum()
        if sampling.top_p < 1:
            masses = masses[: int(masses.searchsorted(sampling.top_p * masses[-1])) + 1]
        return best[_at(masses, dice.random() * float(masses[-1]))][0]


def bands_of(weights: F32) -> NDArray[np.float64]:
    """Running sums by bands: only one band then needs to be summed up word by word."""
    return np.add.reduceat(weights, np.arange(0, len(weights), _BAND)).cumsum(dtype=np.float64)


def pick(weights: F32, bands: NDArray[np.float64], point: float) -> int:
    """The index at which the running sum of the weights passes `point`."""
    band = _at(bands, point)
    inside = weights[band * _BAND : (band + 1) * _BAND].cumsum(dtype=np.float64)
    return band * _BAND + _at(inside, point - (float(bands[band - 1]) if band else 0.0))


def _at(masses: NDArray[np.float64], point: float) -> int:
    return min(int(masses.searchsorted(point, side="right")), len(masses) - 1)


def top(logs: F32, count: int) -> NDArray[np.int64]:
    """The places of the `count` largest, in no order."""
    return np.argpartition(logs, len(logs) - count)[-count:] if len(logs) > count else np.arange(len(logs))


def _draw_nucleus(weights: F32, top_p: float, dice: random.Random) -> int:
    """Draws from the smallest set of words that together have `top_p` of the mass.

    Words below (1 - top_p) / V together have less than 1 - top_p: they are never needed, and never sorted.
    """
    total = float(weights.sum(dtype=np.float64))
    which = np.flatnonzero(weights > np.float32((1 - top_p) * total / len(weights)))
    values = weights[which]
    falling = -np.sort(-values)
    masses = falling.cumsum(dtype=np.float64)
    masses = masses[: int(masses.searchsorted(top_p * total)) + 1]
    at = _at(masses, dice.random() * float(masses[-1]))
    equals = which[values == falling[at]]
    return int(equals[at - int((-falling).searchsorted(-falling[at]))])
