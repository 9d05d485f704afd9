"""n-grams in any order, put together to a model's arrays."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidData
from service.ngram.artifact import Packing, tally
from service.ngram.events import Progressed
from service.ngram.trie import Trie
from service.ngram.vocabulary import U32, U64
from service.tensors import Array

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Rows:
    """The n-grams of one order: ids (n, order), log10 p (n,), log10 backoff (n,)."""

    ids: U32
    log10: NDArray[np.float32]
    backoff: NDArray[np.float32]


def close_suffixes(orders: list[Rows]) -> None:
    """Adds suffixes that entropy pruning (SRILM) left out; their log10 p is not a number until they are built."""
    for longer, order in zip(orders[:1:-1], orders[-2:0:-1], strict=True):
        suffixes = longer.ids[:, 1:]
        keys = _row_keys(suffixes)
        missing = np.flatnonzero(~np.isin(keys, _row_keys(order.ids)))
        if len(missing):
            _, first = np.unique(keys[missing], return_index=True)
            rows = suffixes[missing[first]]
            order.ids = np.concatenate([order.ids, rows])
            order.log10 = np.concatenate([order.log10, np.full(len(rows), np.nan, np.float32)])
            order.backoff = np.concatenate([order.backoff, np.zeros(len(rows), np.float32)])


def _row_keys(rows: U32) -> U64:
    keys = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        keys = (keys ^ column) * _MIX
        keys ^= keys >> np.uint64(32)
    return keys


def assemble(orders: list[Rows]) -> Generator[Progressed, None, tuple[dict[str, Array], list[int]]]:
    """Sorts and packs the orders, lowest first; returns their arrays and sizes. Raises InvalidData.

    The unigrams are in the order of their ids already. Nothing is known of counts.
    """
    vocabulary = len(orders[0].log10)
    counts = [vocabulary]
    arrays: dict[str, Array] = {"1.log10": np.minimum(orders[0].log10, 0)} | _no_counts(1, vocabulary)
    below = orders[0].backoff
    for number, order in enumerate(orders[1:], 2):
        trie = Trie(arrays, number - 1)
        parents = _nodes(trie, order.ids[:, :-1])
        _fill(trie, order, parents, below)
        keys = parents.astype(np.uint64) << np.uint64(24) | order.ids[:, -1]
        sequence = np.argsort(keys)
        if (np.diff(keys[sequence]) == 0).any():
            raise InvalidData(f"the ARPA file has two {number}-grams of the same words")
        packing = Packing(len(keys), counts[-1], vocabulary)
        types = np.bincount(parents, minlength=counts[-1])
        packing.add(order.ids[sequence, -1], np.minimum(order.log10[sequence], 0), types, below)
        arrays |= {f"{number - 1}.contexts": packing.contexts, f"{number}.grams": packing.grams}
        arrays |= _no_counts(number, len(keys))
        below = order.backoff[sequence]
        counts.append(len(keys))
        yield Progressed("building", 0.6 + 0.4 * number / len(orders))
    return arrays, counts


def _no_counts(order: int, size: int) -> dict[str, Array]:
    return {f"{order}.{name}": values for name, values in tally(np.zeros(size, np.uint32)).items()}


def _nodes(trie: Trie, rows: U32) -> NDArray[np.int64]:
    """The node of each row of words. Raises InvalidData where there is none."""
    nodes = rows[:, 0].astype(np.int64)
    for level in range(1, rows.shape[1]):
        low, high, _ = trie.contexts(level, nodes)
        nodes, found, _ = trie.find(level + 1, low, high, rows[:, level])
        if not found.all():
            raise InvalidData(f"the ARPA file has a {rows.shape[1] + 1}-gram whose context is no {rows.shape[1]}-gram")
    return nodes


def _fill(trie: Trie, order: Rows, parents: NDArray[np.int64], backoff: NDArray[np.float32]) -> None:
    """log10 p of added n-grams: what they had without being stored."""
    added = np.flatnonzero(np.isnan(order.log10))
    if len(added):
        suffixes = _nodes(trie, order.ids[added, 1:])
        level = order.ids.shape[1] - 1
        logs = trie.unigrams if level == 1 else trie.logs(level, 0, trie.sizes()[level - 1])
        order.log10[added] = backoff[parents[added]] + logs[suffixes]
