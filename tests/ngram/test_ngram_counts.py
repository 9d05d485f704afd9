"""Counting: every n-gram of every order, its count and its suffix, against counting one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ngram.contract import END, START
from service.ngram.counts import Collection
from service.ngram.sorting import Sorting
from service.ngram.vocabulary import U32

Gram = tuple[int, ...]


def collected(sentences: list[list[int]], order: int, vocabulary: int) -> list[dict[Gram, int]]:
    """What the array code counts, read back: order 2 and up."""
    parts = [np.array([END]), *(np.array([*each, END]) for each in sentences), np.full(order, END)]
    stream: U32 = np.concatenate(parts).astype(np.uint32)
    sorting = Sorting(stream, order, vocabulary)
    assert list(sorting.work())
    collection = Collection(sorting, vocabulary)
    assert collection.measure() == collection.sizes
    assert list(collection.work())
    grams: list[Gram] = [(word,) for word in range(vocabulary)]
    found = []
    for level in collection.levels:
        below, first = grams, level.first.tolist()
        grams = [(*below[at], int(level.words[w])) for at in range(len(below)) for w in range(first[at], first[at + 1])]
        assert [below[at][-len(grams[0]) + 1 :] for at in level.suffix] == [gram[1:] for gram in grams]
        assert grams == sorted(set(grams))
        found.append(dict(zip(grams, level.counts.tolist(), strict=True)))
    return found


def counted(sentences: list[list[int]], order: int) -> Counter[Gram]:
    padded = [[START, *each, END] for each in sentences]
    return Counter(tuple(each[i : i + order]) for each in padded for i in range(len(each) - order + 1))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.integers(3, 7), max_size=8), min_size=1, max_size=30),
    st.integers(2, 10),
    st.sampled_from([8, 300, 70_000]),
)
def test_all_orders_are_counted(sentences: list[list[int]], order: int, vocabulary: int) -> None:
    """Large vocabularies leave room for few words in a sorting key."""
    sentences = [[word if word < 7 else vocabulary - 1 for word in each] for each in sentences]
    for number, found in enumerate(collected(sentences, order, vocabulary), 2):
        assert found == counted(sentences, number)


@pytest.mark.parametrize("words", [4, 900])
def test_texts_longer_than_a_block_are_counted(words: int) -> None:
    """Few words make groups of equals larger than a block, many make blocks of many groups."""
    rng = np.random.default_rng(words)
    sentences = [(3 + rng.zipf(1.3, size=rng.integers(0, 40)) % words).tolist() for _ in range(9000)]
    for number, found in enumerate(collected(sentences, 4, words + 3), 2):
        assert found == counted(sentences, number)
