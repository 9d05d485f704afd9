"""The stored n-grams as a forward trie: from a context to what may follow it.

Level k holds the k-grams; a node is its index there. Its children lie side by side one level up, sorted by word.
Scalars are read through memory views (three times faster than an array's element), batches through arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.ngram.artifact import MANY
from service.tensors import Array

F32 = NDArray[np.float32]


class Trie:
    """Levels 1 to `order`; `words[k]`, `logp[k]`, `backoff[k]`, `first[k]` are level k's arrays (index 0 is unused)."""

    def __init__(self, arrays: Mapping[str, Array], order: int) -> None:
        self.order = order
        orders = range(1, order + 1)
        empty = np.zeros(0, np.uint32)
        self.words: list[Array] = [empty, empty, *(arrays[f"{k}.words"] for k in orders[1:])]
        self.logp: list[F32] = [empty.view(np.float32), *(arrays[f"{k}.logp"] for k in orders)]
        self.backoff: list[F32] = [empty.view(np.float32), *(arrays[f"{k}.backoff"] for k in orders[:-1])]
        self.first: list[Array] = [empty, *(arrays[f"{k}.first"] for k in orders[:-1])]
        self._counts = [(memoryview(b""), empty, empty)] + [
            (arrays[f"{k}.counts"].data, arrays[f"{k}.large"], arrays[f"{k}.large_counts"]) for k in orders
        ]
        self._words, self._logp, self._backoff, self._first = (
            [array.data for array in each] for each in (self.words, self.logp, self.backoff, self.first)
        )

    def sizes(self) -> tuple[int, ...]:
        """How large n-grams of each order."""
        return tuple(len(logp) for logp in self.logp[1:])

    def children(self, level: int, node: int) -> tuple[int, int]:
        """Where the continuations of a node lie on the next level."""
        first = self._first[level]
        return first[node], first[node + 1]

    def child(self, level: int, node: int, word: int) -> int:
        """The node of the n-gram followed by `word`, on the next level; -1 if there is none."""
        first, words = self._first[level], self._words[level + 1]
        low, high = first[node], first[node + 1]
        at = bisect_left(words, word, low, high)
        return at if at < high and words[at] == word else -1

    def log10(self, level: int, node: int) -> float:
        """log10 p of the node's last word after its other words."""
        return float(self._logp[level][node])

    def weight(self, level: int, node: int) -> float:
        """log10 of the node's backoff."""
        return float(self._backoff[level][node])

    def count(self, level: int, node: int) -> int:
        """How often the n-gram stands in the training text."""
        counts, large, large_counts = self._counts[level]
        count = counts[node]
        return int(large_counts[np.searchsorted(large, np.uint32(node))]) if count == MANY else int(count)
