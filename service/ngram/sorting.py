"""Sorts the positions of a stream by the tokens that begin there; all orders of n-grams from one sort.

The stream is END, then each sentence followed by END, then as many more as the order: one END serves as the </s> of a
sentence and the <s> of the next. In sorted order equal n-grams of every order lie side by side; `shared` says how many
leading tokens each sorted position has in common with the one before, so k-grams begin where it is below k.
n-grams with END inside are sorted somewhere, and never counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END
from service.ngram.vocabulary import U32, U64

BLOCK = 1 << 17  # positions worked on at once, so that they stay in the second level cache


class Sorting:
    """`positions` in order, and what each has `shared` with the one before; `work` yields the fraction done.

    The tokens that fit go into one 64 bit key with the position: integers sort faster than anything by index.
    What is then still tied is sorted by the next tokens, group by group.
    """

    def __init__(self, stream: U32, order: int, vocabulary: int) -> None:
        self.count = len(stream) - 1 - order
        self.stream = stream
        self.order, self.bits = order, max(1, (vocabulary - 1).bit_length())
        self.positions: U32 = np.empty(self.count, np.uint32)
        self.shared: NDArray[np.uint8] = np.zeros(self.count, np.uint8)

    def work(self) -> Iterator[float]:
        place_bits = max(1, (self.count - 1).bit_length())
        done = min(self.order, (64 - place_bits) // self.bits)
        self._sort_all(done, place_bits)
        yield 0.4
        low = 0
        while low < self.count and done < self.order:
            high = self._block_end(low, done)
            self._refine(low, high, done)
            low = high
            yield 0.4 + 0.6 * low / self.count

    def _sort_all(self, tokens: int, place_bits: int) -> None:
        keys = np.empty(self.count, np.uint64)
        for low in range(0, self.count, BLOCK):
            part = keys[low : low + BLOCK]
            part[:] = 0
            for ahead in range(tokens):
                part <<= np.uint64(self.bits)
                part |= self.stream[low + ahead : low + ahead + len(part)]
            part <<= np.uint64(place_bits)
            part |= np.arange(low, low + len(part), dtype=np.uint64)
        keys.sort()
        before = keys[:1] >> np.uint64(place_bits)
        for low in range(0, self.count, BLOCK):
            part = keys[low : low + BLOCK]
            self.positions[low : low + BLOCK] = part & np.uint64((1 << place_bits) - 1)
            part >>= np.uint64(place_bits)
            joined = np.concatenate([before, part])
            self.shared[low : low + BLOCK] = self._shared(joined, self.shared[low : low + BLOCK], 0, tokens)
            before = part[-1:]
        self.shared[0] = 0

    def _block_end(self, low: int, done: int) -> int:
        """Where a block ends that cuts no group: the last group start within BLOCK, or the end of a longer group."""
        high = low + BLOCK
        if high >= self.count:
            return self.count
        starts = np.flatnonzero(self.shared[low + 1 : high + 1] < done)
        if len(starts):
            return low + 1 + int(starts[-1])
        while high < self.count:
            starts = np.flatnonzero(self.shared[high : high + BLOCK] < done)
            if len(starts):
                return high + int(starts[0])
            high += BLOCK
        return self.count

    def _refine(self, low: int, high: int, done: int) -> None:
        """Sorts a block of whole groups by their remaining tokens."""
        positions, shared = self.positions[low:high], self.shared[low:high]
        while done < self.order:
            same = shared == done
            tied = same.copy()
            tied[:-1] |= same[1:]
            places = np.flatnonzero(tied)
            if not len(places):
                return
            done += self._sort_ties(positions, shared, places, done)

    def _sort_ties(self, positions: U32, shared: NDArray[np.uint8], places: NDArray[np.int64], done: int) -> int:
        """Sorts the positions at `places` by their next tokens within their groups; returns by how many tokens."""
        at, tied = positions[places], shared[places]
        keys = np.cumsum(tied != done, dtype=np.uint64)
        place_bits = max(1, (len(places) - 1).bit_length())
        tokens = min(self.order - done, (64 - int(keys[-1]).bit_length() - place_bits) // self.bits)
        for ahead in range(done, done + tokens):
            keys <<= np.uint64(self.bits)
            keys |= self.stream[at + np.uint32(ahead)]
        keys <<= np.uint64(place_bits)
        keys |= np.arange(len(places), dtype=np.uint64)
        keys.sort()
        positions[places] = at[keys & np.uint64((1 << place_bits) - 1)]
        keys >>= np.uint64(place_bits)
        tied[1:] = self._shared(keys, tied[1:], done, tokens)
        shared[places] = tied
        return tokens

    def _shared(self, keys: U64, shared: NDArray[np.uint8], done: int, tokens: int) -> NDArray[np.uint8]:
        """How many tokens each key but the first shares with the one before; equals that have ended share all."""
        differ = keys[1:] ^ keys[:-1]
        for token in range(1, tokens + 1):
            same = differ < np.uint64(1 << (self.bits * (tokens - token)))
            shared = np.where(same, np.uint8(done + token), shared)
        if done + tokens > 1:
            mask = np.uint64((1 << self.bits) - 1)
            ended = (differ == 0) & ((keys[1:] & mask) == END)
            shared[ended] = self.order
        return shared
