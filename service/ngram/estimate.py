"""From counts to probabilities and backoffs, one order at a time, lowest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.counts import Level
from service.ngram.smoothing import Discounts, Interpolated, StupidBackoff
from service.ngram.vocabulary import U32

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Counts = NDArray[np.uint32]


@dataclass
class Estimates:
    """Of one order: p of each n-gram, and of each context one order lower its gamma (1 where nothing follows)."""

    probabilities: F32
    gammas: F32


def adjusted(level: Level, above: Level | None, left: bool) -> NDArray[np.uint32]:
    """The counts a smoothing sees: with `left`, of how many n-grams one longer each is the end, where there are any."""
    if above is None or not left:
        return level.counts
    left_counts = np.bincount(above.suffix, minlength=len(level.words)).astype(np.uint32)
    return np.where(left_counts == 0, level.counts, left_counts)


def discounts(smoothing: Interpolated, counts: NDArray[np.uint32]) -> Discounts:
    """From the counts of all n-grams of an order, the pruned ones too."""
    return smoothing.discounts(np.bincount(np.minimum(counts, 5), minlength=6)[:5])


def segment_sums(values: Counts | NDArray[np.float64], first: U32) -> NDArray[np.float64]:
    """The sums of the values between one `first` and the next; 0 where nothing lies between."""
    sums = np.zeros(len(first) - 1)
    filled = np.flatnonzero(first[1:] > first[:-1])
    if len(filled):
        sums[filled] = np.add.reduceat(values, first[filled].astype(np.int64), dtype=np.float64)
    return sums


def _types(level: Level) -> I64:
    """How many different words follow each context."""
    return np.diff(level.first.astype(np.int64)).astype(np.int64)


class Chain:
    """The estimator of all interpolated smoothings: `order` is called for order 1, 2, ... in turn."""

    def __init__(self, smoothing: Interpolated, vocabulary: int) -> None:
        self.smoothing, self.vocabulary = smoothing, vocabulary
        self.uniform = 1.0 / (vocabulary - 1)
        self.lower: F32 = np.full(1, self.uniform, np.float32)
        self.taken: list[Discounts] = []

    def order(self, level: Level, counts: NDArray[np.uint32], kept: NDArray[np.bool_] | None) -> Estimates:
        """Formula of `smoothing.py`; `counts` are adjusted, `kept` marks what is not pruned (None: everything)."""
        taken = discounts(self.smoothing, counts)
        self.taken.append(taken)
        left = counts - taken.table()[np.minimum(counts, 3)].astype(np.float64)
        types = _types(level)
        total = segment_sums(counts, level.first) + self.smoothing.extra(types, self.vocabulary - 1)
        used = segment_sums(left if kept is None else np.where(kept, left, 0.0), level.first)
        with np.errstate(invalid="ignore", divide="ignore"):
            gamma = np.where(types > 0, 1.0 - used / total, 1.0)
        lower = self.uniform if self.smoothing.to_uniform else self.lower[level.suffix]
        p: NDArray[np.float64] = left / np.repeat(total, types) + np.repeat(gamma, types) * lower
        self.lower = p.astype(np.float32)
        return Estimates(self.lower, gamma.astype(np.float32))


class Stupid:
    """The estimator of stupid backoff: scores S as in the paper, divided by Z(c), their sum after the context.

    Z(c) = sum over seen w of S(w|c) + factor (Z(c') - sum over seen w of S(w|c')); gamma(c) = factor Z(c') / Z(c).
    """

    def __init__(self, smoothing: StupidBackoff, vocabulary: int) -> None:
        self.factor = smoothing.factor
        self.lower: F32 = np.full(1, 1.0 / (vocabulary - 1), np.float32)
        self.sums: NDArray[np.float64] = np.ones(1)
        self.suffix: U32 = np.zeros(1, np.uint32)
        self.taken: list[Discounts] = []

    def order(self, level: Level, counts: NDArray[np.uint32], kept: NDArray[np.bool_] | None) -> Estimates:
        types = _types(level)
        total = np.maximum(segment_sums(counts, level.first), 1.0)
        lower = self.lower[level.suffix]
        seen = counts > 0 if kept is None else kept & (counts > 0)
        scores = np.where(seen, counts / np.repeat(total, types), self.factor * lower)
        shorter = self.sums[self.suffix]
        rest = np.maximum(shorter - segment_sums(np.where(seen, lower, 0.0), level.first), 0.0)
        sums = segment_sums(np.where(seen, scores, 0.0), level.first) + self.factor * rest
        gamma = np.where(types > 0, self.factor * shorter / sums, 1.0)
        self.sums, self.suffix, self.lower = np.where(types > 0, sums, shorter), level.suffix, scores.astype(np.float32)
        p = scores / np.repeat(self.sums, types)
        return Estimates(p.astype(np.float32), gamma.astype(np.float32))
