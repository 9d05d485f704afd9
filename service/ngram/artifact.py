"""The arrays of a model file: a forward trie, order by order, built for few cache misses (docs/decisions/0009).

    1.log10       float32 by word
    k.contexts    uint64 by node of order k, one more at the end: 32 bits where its continuations begin in order k + 1,
                  32 bits log10 backoff (float32)
    k.grams       uint64 by n-gram of order k >= 2, one more at the end: 24 bits last word, 8 bits detour,
                  32 bits log10 p (float32)
    k.counts      uint8 by n-gram; 255 stands for the number in k.large_counts whose place in k.large is the n-gram's
    ranking       words, most probable first
    vocabulary.*  see vocabulary.py

Continuations of a context lie side by side, sorted by word. Where a word must be among them, if it is, is guessed as if
they were evenly spread over the vocabulary; the detour at the guessed place leads from there to the first continuation
that is guessed there or later. So nearly every search ends where it begins, in one cache line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import U32, U64
from service.tensors import Array

FORMAT = "2"
MANY = 255
"""Counts from here on are kept apart, so that a count takes one byte."""
MAX_VOCABULARY = 1 << 24
LOST = -128
"""A detour that does not fit its byte: the whole range is to be searched."""

Floats = NDArray[np.float32] | NDArray[np.float64]


def tally(counts: U32) -> dict[str, Array]:
    """Counts of an order as they are stored."""
    large = np.flatnonzero(counts >= MANY).astype(np.uint32)
    return {"counts": np.minimum(counts, MANY).astype(np.uint8), "large": large, "large_counts": counts[large]}


def fraction(vocabulary: int) -> int:
    """(word * fraction) >> 8 is the word's place in the vocabulary in 2^-32ths."""
    return (1 << 40) // vocabulary


def guesses(low: NDArray[np.int64] | U32, types: U64, words: U32, vocabulary: int) -> NDArray[np.int64]:
    """Where each word would be among the `types` continuations from `low` on, were they evenly spread."""
    place = words * np.uint64(fraction(vocabulary))
    place >>= np.uint64(8)
    place *= types
    place >>= np.uint64(32)
    found = place.view(np.int64)
    found += low
    return found


class Packing:
    """Fills the arrays of an order >= 2, and makes the nodes of the order below contexts, block by block."""

    def __init__(self, ngrams: int, contexts: int, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.grams, self.contexts = np.empty(ngrams + 1, np.uint64), np.empty(contexts + 1, np.uint64)
        self.grams[-1], self.contexts[-1] = 0, ngrams
        self._grams, self._contexts = 0, 0

    def add(self, words: U32, log10: Floats, types: NDArray[np.int64], backoffs: Floats) -> None:
        """The next n-grams, and of each of their contexts how many they are and its log10 backoff."""
        bounds = np.zeros(len(types) + 1, np.int64)
        np.cumsum(types, out=bounds[1:])
        grams = self.grams[self._grams : self._grams + len(words)].view(np.uint32)
        grams[0::2] = _detours(words, bounds, types, self.vocabulary)
        grams[0::2] |= words
        grams.view(np.float32)[1::2] = log10
        contexts = self.contexts[self._contexts : self._contexts + len(types)].view(np.uint32)
        contexts[0::2] = bounds[:-1] + self._grams
        contexts.view(np.float32)[1::2] = backoffs
        self._grams += len(words)
        self._contexts += len(types)


def _detours(words: U32, bounds: NDArray[np.int64], types: NDArray[np.int64], vocabulary: int) -> U32:
    low, many = np.repeat(bounds[:-1], types), np.repeat(types, types).view(np.uint64)
    guessed = guesses(low, many, words, vocabulary)
    here = np.bincount(guessed, minlength=len(words))
    detour = np.cumsum(here)
    detour -= here
    detour -= np.arange(len(words))
    detour[np.abs(detour) > -LOST - 1] = LOST
    return detour.astype(np.uint32) << np.uint32(24)


def pack(
    spec: NgramSpec, vocabulary: Mapping[str, Array], orders: Mapping[str, Array], facts: Mapping[str, object]
) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays and strings of a model."""
    ranking = np.argsort(-orders["1.log10"], kind="stable").astype(np.uint32)
    metadata = {"kind": "ngram", "format": FORMAT, "spec": spec.model_dump_json(), "facts": json.dumps(facts)}
    return {**vocabulary, **orders, "ranking": ranking}, metadata
