"""The fading cache: worked by hand, normalised, and worth having."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from ngram_models import golden_text, model_of

from service.ngram import Cache, Cached, Model, NgramSpec, Options, tune_cache
from service.ngram.cache import Memory


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(NgramSpec(order=3), golden_text("ts_train"))


def test_uses_fade_by_hand() -> None:
    memory = Memory(decay=0.5)
    for before, word in [(1, 7), (7, 8), (8, 7), (7, 9)]:
        memory.add(before, word)
    # weights of the four uses, oldest first: 1/8, 1/4, 1/2, 1
    assert list(memory.shares(7, 7)) == pytest.approx([(1 / 8 + 1 / 2) / (15 / 8), 0.0])
    assert list(memory.shares(7, 9)) == pytest.approx([8 / 15, 1 / 1.25])  # after 7: 8 at 1/4, 9 at 1
    assert memory.shares(5, 9)[1] is None


def test_a_long_memory_neither_overflows_nor_grows() -> None:
    memory = Memory(decay=0.9)
    for at in range(30_000):
        memory.add(at % 5000, at % 5000 + 3)
    assert len(memory.words.weights) < 9000
    assert memory.shares(4999, 29_999 % 5000 + 3)[0] == pytest.approx(0.1, rel=0.01)


def test_probabilities_with_a_cache_sum_to_one(model: Model) -> None:
    cached = Cached(model, Cache(decay=0.9, unigram=0.2, bigram=0.1))
    for context in ("", "the king , the", "my lord , my lord , the king my"):
        distribution = cached.distribution(cached.state_after(context))
        p = 10.0 ** distribution.dense().astype(np.float64)
        assert math.fsum(p) + 10.0 ** distribution.log10(0) == pytest.approx(1, abs=1e-5)
        best = distribution.best(20)
        assert [10**log for _, log in best] == pytest.approx([p[word] for word, _ in best], rel=1e-4)
        assert [10**log for _, log in best] == pytest.approx(np.sort(p)[::-1][:20].tolist(), rel=1e-4)


def test_scores_are_those_of_the_distributions(model: Model) -> None:
    cached = Cached(model, Cache(decay=0.9, unigram=0.2, bigram=0.1))
    text = "the king , the king .\nthe zzz lord , the king .\n"
    state, total = cached.start(), 0.0
    for word in cached.words(text):
        total += cached.log10(state, word)
        state = cached.advance(state, word)
    assert cached.score(text).log10_prob == pytest.approx(total, abs=1e-4)


def test_a_tuned_cache_helps_on_other_text(model: Model) -> None:
    lines = golden_text("ts_test").splitlines(keepends=True)
    cache = tune_cache(model, b"".join(lines[:300]))
    rest = b"".join(lines[300:])
    static, adapted = model.score(rest).perplexity, Cached(model, cache).score(rest).perplexity
    assert static is not None
    assert adapted is not None
    assert adapted < 0.95 * static


def test_a_cache_of_no_weight_changes_nothing(model: Model) -> None:
    cached = Cached(model, Cache(unigram=0, bigram=0))
    assert cached.score(golden_text("ts_test")).log10_prob == pytest.approx(
        model.score(golden_text("ts_test")).log10_prob, rel=1e-6
    )


def test_what_was_said_is_suggested_and_continued(model: Model) -> None:
    cached = Cached(model, Cache(decay=0.99, unigram=0.1, bigram=0.45))
    text = "verily gloucester ! verily gloucester ! verily"
    assert cached.suggest(text, count=1)[0].text == "gloucester"
    assert list(cached.complete(text, Options(max_tokens=4, seed=1)))
    drawn = {cached.distribution(cached.state_after(text)).draw(random.Random(seed)) for seed in range(40)}
    assert model.vocabulary.id(b"gloucester") in drawn
