"""The arrays of a model file: a forward trie, one order after the other (docs/decisions/0010-ngram-arrays.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import U32
from service.tensors import Array

FORMAT = "1"
MANY = 255
"""Counts from here on are kept apart, so that a count takes one byte."""


@dataclass
class Tally:
    """Raw counts, a byte each; where that is not enough, `large` says which and `values` how many."""

    bytes: NDArray[np.uint8]
    large: U32
    values: U32

    @classmethod
    def of(cls, counts: U32) -> Tally:
        """From whole counts."""
        large = np.flatnonzero(counts >= MANY).astype(np.uint32)
        return cls(np.minimum(counts, MANY).astype(np.uint8), large, counts[large])


@dataclass
class Packed:
    """One order as it is stored: log10 probabilities and backoffs, the last words, and where the next order begins."""

    words: U32
    logp: NDArray[np.float32]
    counts: Tally
    backoff: NDArray[np.float32] | None = None
    first: U32 | None = None


def pack(
    spec: NgramSpec, vocabulary: Mapping[str, Array], orders: Sequence[Packed], facts: Mapping[str, object]
) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays and strings of a model."""
    arrays = dict(vocabulary)
    small = len(orders[0].words) <= 1 << 16
    for number, order in enumerate(orders, 1):
        if number > 1:
            arrays[f"{number}.words"] = order.words.astype(np.uint16) if small else order.words
        arrays[f"{number}.logp"] = order.logp
        if order.backoff is not None and order.first is not None:
            arrays[f"{number}.backoff"] = order.backoff
            arrays[f"{number}.first"] = order.first
        arrays[f"{number}.counts"] = order.counts.bytes
        arrays[f"{number}.large"] = order.counts.large
        arrays[f"{number}.large_counts"] = order.counts.values
    arrays["ranking"] = np.argsort(-orders[0].logp, kind="stable").astype(np.uint32)
    metadata = {"kind": "ngram", "format": FORMAT, "spec": spec.model_dump_json(), "facts": json.dumps(facts)}
    return arrays, metadata
