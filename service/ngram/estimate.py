"""From counts to probabilities and backoffs, one order at a time, lowest first, in blocks that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.counts import Level
from service.ngram.smoothing import Discounts, Interpolated, StupidBackoff
from service.ngram.sorting import BLOCK
from service.ngram.vocabulary import U32

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Kept = NDArray[np.bool_] | None
"""What is not pruned; None: everything."""


@dataclass
class Block:
    """Some contexts, and the n-grams that continue them. `bounds`: where each context's n-grams begin, and the end."""

    contexts: slice
    ngrams: slice
    bounds: NDArray[np.int64]

    def sums(self, values: NDArray[np.float64] | U32 | NDArray[np.bool_]) -> F64:
        """Of each context, the sum over its n-grams; prefix sums of a block lose nothing that matters in float64."""
        running = np.zeros(len(values) + 1)
        np.cumsum(values, out=running[1:], dtype=np.float64)
        return running[self.bounds[1:]] - running[self.bounds[:-1]]

    def types(self) -> NDArray[np.int64]:
        """How many different words follow each context."""
        return self.bounds[1:] - self.bounds[:-1]

    def spread(self, values: F64) -> F64:
        """Each context's value, repeated for each of its n-grams."""
        return np.repeat(values, self.types())


def blocks(first: U32) -> Iterator[Block]:
    """Cuts a level between contexts, about every BLOCK n-grams."""
    marks = np.arange(0, int(first[-1]) + BLOCK, BLOCK, dtype=np.uint32)
    cuts = np.unique(np.append(np.searchsorted(first[:-1], marks), len(first) - 1))
    cuts = cuts if cuts[0] == 0 else np.append(0, cuts)
    for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        start, stop = int(first[low]), int(first[high])
        yield Block(slice(low, high), slice(start, stop), first[low : high + 1].astype(np.int64) - start)


def adjusted(level: Level, above: Level | None, left: bool) -> U32:
    """The counts a smoothing sees: with `left`, of how many n-grams one longer each is the end, where there are any."""
    if above is None or not left:
        return level.counts
    seen = np.zeros(len(level.words), np.uint32)
    one = np.ones(BLOCK, np.uint32)
    for low in range(0, len(above.suffix), BLOCK):
        part = above.suffix[low : low + BLOCK]
        np.add.at(seen, part, one[: len(part)])
    np.copyto(seen, level.counts, where=seen == 0)
    return seen


Estimate = tuple[Block, F64, F64]
"""A block of an order, log10 p of its n-grams, and log10 gamma of its contexts (0 where nothing follows)."""


class Chain:
    """The estimator of all interpolated smoothings: `order` is called for order 1, 2, ... in turn."""

    def __init__(self, smoothing: Interpolated, vocabulary: int) -> None:
        self.smoothing, self.vocabulary = smoothing, vocabulary
        self.uniform = 1.0 / (vocabulary - 1)
        self.lower: F32 = np.full(1, self.uniform, np.float32)
        self.taken: list[Discounts] = []

    def order(self, level: Level, counts: U32, kept: Kept) -> Iterator[Estimate]:
        """The formula of `smoothing.py`; `counts` are adjusted."""
        taken = self.smoothing.discounts(np.bincount(np.minimum(counts, 5), minlength=6)[:5])
        self.taken.append(taken)
        discount = taken.table()
        p = np.empty(len(counts), np.float32)
        for block in blocks(level.first):
            suffix = level.suffix[block.ngrams]
            lower = self.uniform if self.smoothing.to_uniform else self.lower[suffix]
            here = kept if kept is None else kept[block.ngrams]
            estimated, gamma = self._block(block, counts[block.ngrams], here, discount, lower)
            p[block.ngrams] = estimated
            yield block, np.log10(estimated), np.log10(gamma)
        self.lower = p

    def _block(self, block: Block, counts: U32, kept: Kept, discount: F64, lower: F32 | float) -> tuple[F64, F64]:
        taken = discount.take(counts, mode="clip")
        types = block.types() if len(self.taken) > 1 else np.array([np.count_nonzero(counts)])
        extra = self.smoothing.extra(types, self.vocabulary - 1)
        total = block.sums(counts) + extra
        lost = taken if kept is None else np.where(kept, taken, counts)
        gamma = np.divide(block.sums(lost) + extra, total, out=np.ones_like(total), where=block.types() > 0)
        return (counts - taken) / block.spread(total) + block.spread(gamma) * lower, gamma


class Stupid:
    """The estimator of stupid backoff: scores S as in the paper, divided by Z(c), their sum after the context.

    Z(c) = sum over seen w of S(w|c) + factor (Z(c') - sum over seen w of S(w|c')); gamma(c) = factor Z(c') / Z(c).
    """

    def __init__(self, smoothing: StupidBackoff, vocabulary: int) -> None:
        self.factor = smoothing.factor
        self.lower: F32 = np.full(1, 1.0 / (vocabulary - 1), np.float32)
        self.sums: F64 = np.ones(1)
        self.suffix: U32 = np.zeros(1, np.uint32)
        self.taken: list[Discounts] = []

    def order(self, level: Level, counts: U32, kept: Kept) -> Iterator[Estimate]:
        """One order's normalised scores."""
        scores = np.empty(len(counts), np.float32)
        sums = np.empty(len(level.first) - 1)
        for block in blocks(level.first):
            lower = self.lower[level.suffix[block.ngrams]].astype(np.float64)
            part = counts[block.ngrams]
            seen = part > 0 if kept is None else kept[block.ngrams] & (part > 0)
            score = np.where(seen, part / np.maximum(block.spread(block.sums(part)), 1.0), self.factor * lower)
            shorter = self.sums[self.suffix[block.contexts]]
            rest = np.maximum(shorter - block.sums(np.where(seen, lower, 0.0)), 0.0)
            z = block.sums(np.where(seen, score, 0.0)) + self.factor * rest
            followed = block.types() > 0
            sums[block.contexts] = np.where(followed, z, shorter)
            gamma = np.divide(self.factor * shorter, z, out=np.ones_like(z), where=followed)
            scores[block.ngrams] = score
            yield block, np.log10(score / block.spread(z)), np.log10(gamma)
        self.sums, self.suffix, self.lower = sums, level.suffix, scores
