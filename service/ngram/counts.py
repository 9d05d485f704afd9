"""From sorted positions to the n-grams of every order, their counts, and how the orders hang together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, START
from service.ngram.sorting import BLOCK, Sorting
from service.ngram.vocabulary import U32


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


def unigrams(tokens: U32, vocabulary: int) -> Level:
    """Order 1: every word of the vocabulary, whether it has a count or not."""
    counts = np.bincount(tokens, minlength=vocabulary).astype(np.uint32)
    words = np.arange(vocabulary, dtype=np.uint32)
    return Level(words, counts, np.zeros(vocabulary, np.uint32), np.array([0, vocabulary], np.uint32))


class Collection:
    """Orders 2 and up of sorted positions: `measure` says how many n-grams there are, `work` fills `levels`."""

    def __init__(self, sorting: Sorting, vocabulary: int) -> None:
        self.stream, self.positions, self.shared = sorting.stream, sorting.positions, sorting.shared
        self.orders = range(2, sorting.order + 1)
        self.vocabulary = vocabulary
        self.levels: list[Level] = []
        self._next = [0] * (sorting.order + 1)  # how many nodes of each order have been met

    def measure(self) -> list[int]:
        """How many n-grams each order has; nothing of their size is allocated yet."""
        room = _room(self.stream, len(self.positions), self.orders[-1])
        sizes = np.zeros(len(self.orders), np.int64)
        for low in range(0, len(self.positions), BLOCK):
            here = room[self.positions[low : low + BLOCK]]
            self.shared[low : low + BLOCK] |= here << 4  # both at most 10: one byte holds them
            sizes += [np.count_nonzero(begun) for begun in self._begun(low)]
        self.sizes: list[int] = sizes.tolist()
        return self.sizes

    def work(self) -> Iterator[float]:
        """Yields the fraction done."""
        total = len(self.positions)
        self._allocate(self.sizes)
        for low in range(0, total, BLOCK):
            self._enter(low)
            yield 0.7 * low / total
        self._next = [0] * len(self._next)
        for low in range(0, total, BLOCK):
            self._link(low)
            yield 0.7 + 0.3 * low / total
        self._finish()

    def _begun(self, low: int) -> list[NDArray[np.bool_]]:
        """Of a block and each order: where a new n-gram begins."""
        packed = self.shared[low : low + BLOCK]
        shared, room = packed & 15, packed >> 4
        return [(shared < order) & (room >= order) for order in self.orders]

    def _allocate(self, sizes: list[int]) -> None:
        for order, size in zip(self.orders, sizes, strict=True):
            parents = self.vocabulary if order == 2 else sizes[order - 3]
            words, counts, suffix = (np.empty(size, np.uint32) for _ in range(3))
            self.levels.append(Level(words, counts, suffix, np.full(parents + 1, size, np.uint32)))
        self.nodes = _Rows(len(self.positions) + 1, len(self.orders) - 1)

    def _enter(self, low: int) -> None:
        """Enters the n-grams that begin in a block, order by order."""
        positions = self.positions[low : low + BLOCK]
        packed = self.shared[low : low + BLOCK]
        parents = np.zeros(0, np.int64)
        rows = self.nodes.rows(len(positions))
        for order, begun, level in zip(self.orders, self._begun(low), self.levels, strict=True):
            slots, past = np.flatnonzero(begun), self._next[order]
            level.words[past : past + len(slots)] = self.stream[positions[slots] + np.uint32(order - 1)]
            self._count(level, packed, order, slots, past)
            nodes = np.cumsum(begun, dtype=np.uint32) + np.uint32(past)  # one more than the node at each slot
            if order == 2:
                self._enter_words(level, positions, packed, nodes)
            else:
                above = self._next[order - 1] - len(parents)
                level.first[above : above + len(parents)] = nodes[parents] - begun[parents]
            if order < self.orders[-1]:
                rows[:, order - 2] = nodes - np.uint32(1)
            parents = slots
            self._next[order] += len(slots)
        self.nodes.put(positions, rows)

    def _enter_words(self, level: Level, positions: U32, packed: NDArray[np.uint8], nodes: U32) -> None:
        """Where the bigrams of each word begin; a leading END is a START."""
        heads = np.flatnonzero((packed & 15) == 0)
        leading = self.stream[positions[heads]]
        level.first[np.where(leading == END, START, leading)] = nodes[heads] - np.uint32(1)

    def _count(self, level: Level, packed: NDArray[np.uint8], order: int, slots: NDArray[np.int64], past: int) -> None:
        """Run lengths within the block; what continues a run of the block before is added to it."""
        runs = np.flatnonzero((packed & 15) < order)
        lengths = np.diff(runs, append=len(packed))
        lead = int(runs[0]) if len(runs) else len(packed)
        if lead and packed[0] >> 4 >= order:
            level.counts[past - 1] += np.uint32(lead)
        level.counts[past : past + len(slots)] = lengths[(packed[runs] >> 4) >= order]

    def _link(self, low: int) -> None:
        """Finds the suffixes of the n-grams that begin in a block."""
        after = self.positions[low : low + BLOCK] + np.uint32(1)
        rows = self.nodes.take(after)
        for order, begun, level in zip(self.orders, self._begun(low), self.levels, strict=True):
            suffix = self.stream[after[begun]] if order == 2 else rows[begun, order - 3]
            past = self._next[order]
            level.suffix[past : past + len(suffix)] = suffix
            self._next[order] += len(suffix)

    def _finish(self) -> None:
        for level in self.levels:
            level.first[-1] = len(level.words)
        first = self.levels[0].first
        first[:] = np.minimum.accumulate(first[::-1])[
            ::-1
        ]  # of words that nothing follows, as </s>: where others go on
        del self.nodes


class _Rows:
    """A table of numbers, some per position, written and read at random: a row moves as one element, one cache miss."""

    def __init__(self, positions: int, columns: int) -> None:
        element = np.dtype(np.uint32 if columns <= 1 else np.uint64 if columns == 2 else np.complex128)
        self.width = element.itemsize // 4
        self.parts = [np.empty(positions, element) for _ in range(0, columns, self.width)]

    def rows(self, count: int) -> U32:
        """So many rows to fill."""
        return np.empty((count, self.width * len(self.parts)), np.uint32)

    def put(self, positions: U32, rows: U32) -> None:
        for number, part in enumerate(self.parts):
            columns = np.ascontiguousarray(rows[:, number * self.width : (number + 1) * self.width])
            part[positions] = columns.view(part.dtype)[:, 0]

    def take(self, positions: U32) -> U32:
        if len(self.parts) == 1:
            return self.parts[0][positions].view(np.uint32).reshape(-1, self.width)
        taken = self.rows(len(positions))
        for number, part in enumerate(self.parts):
            columns = part[positions].view(np.uint32).reshape(-1, self.width)
            taken[:, number * self.width : (number + 1) * self.width] = columns
        return taken


def _room(stream: U32, positions: int, order: int) -> NDArray[np.uint8]:
    """How long an n-gram that begins at each position can be (at most `order`) before it would run past an END."""
    room = np.full(positions, order, np.uint8)
    ends = np.flatnonzero(stream[: positions + 1] == END)
    for back in range(order - 2, 0, -1):
        room[ends[ends >= back] - back] = back + 1
    return room
