"""Every n-gram of a stream with its count, all orders from one sort.

The stream is END, then each sentence followed by END. One END serves as the </s> of a sentence and the <s> of the next.
Sorting the positions by the `order` tokens that begin there puts equal n-grams of every order side by side; `shared`
says how many leading tokens each sorted position has in common with the one before, so the k-grams begin where it is
below k. n-grams with END inside are sorted somewhere, and never counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, START
from service.ngram.vocabulary import U32

BLOCK = 1 << 18  # positions sorted at once, so that they stay in the second level cache


@dataclass
class Level:
    """All n-grams of one order, sorted by their tokens (the first token weighs most).

    words: the last token. counts: how often. suffix: the place of the n-gram without its first token, one order lower.
    first: where the n-grams that continue each n-gram of the order below begin, and one more: the end.
    """

    words: U32
    counts: U32
    suffix: U32
    first: U32


class Sorting:
    """Positions of a stream in the order of the tokens that begin there; `work` yields the fraction done."""

    def __init__(self, stream: U32, order: int, vocabulary: int) -> None:
        count = len(stream) - 1
        self.stream = np.concatenate([stream, np.full(order, END, np.uint32)])
        self.order, self.bits = order, max(1, (vocabulary - 1).bit_length())
        self.positions: U32 = np.arange(count, dtype=np.uint32)
        self.shared: NDArray[np.uint8] = np.zeros(count, np.uint8)

    def work(self) -> Iterator[float]:
        """Sorts by the tokens that fit one 64 bit key with the position, then each group of equals by the next ones."""
        count = len(self.positions)
        place_bits = max(1, (count - 1).bit_length())
        done = min(self.order, max(1, (64 - place_bits) // self.bits))
        self._sort(0, count, np.arange(count), 0, done)
        yield 0.3
        low = 0
        while low < count and done < self.order:
            high = self._block_end(low, done)
            self._refine(low, high, done)
            low = high
            yield 0.3 + 0.7 * low / count

    def _block_end(self, low: int, done: int) -> int:
        """Where a block ends that cuts no group: the last group start within BLOCK, or the end of a longer group."""
        high = low + BLOCK
        if high >= len(self.shared):
            return len(self.shared)
        starts = np.flatnonzero(self.shared[low + 1 : high + 1] < done)
        if len(starts):
            return low + 1 + int(starts[-1])
        while high < len(self.shared):
            starts = np.flatnonzero(self.shared[high : high + BLOCK] < done)
            if len(starts):
                return high + int(starts[0])
            high += BLOCK
        return len(self.shared)

    def _refine(self, low: int, high: int, done: int) -> None:
        while done < self.order:
            same = self.shared[low:high] == done
            tied = same.copy()
            tied[:-1] |= same[1:]
            places = np.flatnonzero(tied)
            if not len(places):
                return
            done += self._sort(low, high, places, done, self.order - done)

    def _sort(self, low: int, high: int, places: NDArray[np.int64], done: int, wanted: int) -> int:
        """Sorts the positions at `places` of a block by their next tokens within their groups; says by how many."""
        positions = self.positions[low:high][places]
        group = np.cumsum(self.shared[low:high][places] != done, dtype=np.uint64)
        group_bits = int(group[-1]).bit_length() if done else 0
        place_bits = max(1, (len(places) - 1).bit_length())
        tokens = min(wanted, (64 - group_bits - place_bits) // self.bits)
        keys = group if done else np.zeros(len(places), np.uint64)
        for ahead in range(done, done + tokens):
            keys <<= np.uint64(self.bits)
            keys |= self.stream[positions + np.uint32(ahead)]
        keys <<= np.uint64(place_bits)
        keys |= np.arange(len(places), dtype=np.uint64)
        keys.sort()
        self.positions[low + places] = positions[keys & np.uint64((1 << place_bits) - 1)]
        keys >>= np.uint64(place_bits)
        self._note_shared(low, places, keys, done, tokens)
        return tokens

    def _note_shared(
        self, low: int, places: NDArray[np.int64], keys: NDArray[np.uint64], done: int, tokens: int
    ) -> None:
        """Of each place whether it shares the next tokens with the one before; equals that ended share everything."""
        differ = keys[1:] ^ keys[:-1]
        places = low + places[1:]
        shared = self.shared[places]
        for token in range(1, tokens + 1):
            same = (differ >> np.uint64(self.bits * (tokens - token))) == 0
            shared[same] = done + token
        mask = np.uint64((1 << self.bits) - 1)
        ended = (differ == 0) & ((keys[1:] & mask) == END)
        if done + tokens > 1:
            shared[ended] = self.order
        self.shared[places] = shared


def levels(sorting: Sorting, vocabulary: int) -> Iterator[Level]:
    """Orders 2 and up, one after the other."""
    stream, positions, shared = sorting.stream, sorting.positions, sorting.shared
    room = _room(stream, len(positions), sorting.order)
    above, node_at = np.zeros(0, np.int64), stream
    for order in range(2, sorting.order + 1):
        begins = np.flatnonzero(shared < order)
        counts = np.diff(begins, append=len(positions)).astype(np.uint32)
        valid = room[positions[begins]] >= order
        begins, counts = begins[valid], counts[valid]
        at = positions[begins]
        begun = np.zeros(len(positions), bool)
        begun[begins] = True
        nodes = np.cumsum(begun, dtype=np.uint32)
        first = nodes[above] - begun[above] if order > 2 else _first_of_words(stream[at], vocabulary)
        yield Level(
            words=stream[at + np.uint32(order - 1)],
            counts=counts,
            suffix=node_at[at + np.uint32(1)],
            first=np.append(first, np.uint32(len(begins))),
        )
        node_at = np.empty(len(positions) + 1, np.uint32)
        node_at[positions] = nodes - np.uint32(1)
        above = begins


def _room(stream: U32, positions: int, order: int) -> NDArray[np.uint8]:
    """How long an n-gram that begins at each position can be (at most `order`) before it would run past an END."""
    room = np.full(positions, order, np.uint8)
    ends = np.flatnonzero(stream[: positions + 1] == END)
    for back in range(order - 2, 0, -1):
        room[ends[ends >= back] - back] = back + 1
    return room


def _first_of_words(leading: U32, vocabulary: int) -> U32:
    """Where the bigrams of each first word begin; a leading END is a START."""
    counts = np.bincount(np.where(leading == END, START, leading), minlength=vocabulary)
    return (np.cumsum(counts) - counts).astype(np.uint32)
