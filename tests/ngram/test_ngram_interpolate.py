"""Mixtures of models: normalised over the words of all, tuned, and used like any model."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from ngram_models import golden_text, model_of

from service.errors import InvalidSpec
from service.ngram import Generated, Mixture, Model, NgramSpec, Options, tune_mixture

LINES = golden_text("ts_train").splitlines(keepends=True)
CONTEXTS = ["", "the king", "first citizen :", "zzz the"]


@pytest.fixture(scope="module")
def halves() -> tuple[Model, Model]:
    return model_of(NgramSpec(order=3), b"".join(LINES[:3000])), model_of(NgramSpec(order=2), b"".join(LINES[3000:]))


@pytest.fixture(scope="module")
def mixture(halves: tuple[Model, Model]) -> Mixture:
    return Mixture(halves, [0.7, 0.3])


@pytest.mark.parametrize("context", CONTEXTS)
def test_probabilities_of_a_mixture_sum_to_one(mixture: Mixture, context: str) -> None:
    distribution = mixture.distribution(mixture.state_after(context))
    p = 10.0 ** distribution.dense().astype(np.float64)
    assert math.fsum(p) + 10.0 ** distribution.log10(0) == pytest.approx(1, abs=1e-5)
    some = range(2, len(p), 97)
    assert [distribution.log10(word) for word in some] == pytest.approx(
        [math.log10(p[word]) for word in some], abs=1e-5
    )


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("among", [None, range(40, 90, 3)])
def test_the_best_words_of_a_mixture_are_the_best_of_all(mixture: Mixture, context: str, among: range | None) -> None:
    distribution = mixture.distribution(mixture.state_after(context))
    p = 10.0 ** distribution.dense().astype(np.float64)[range(2, len(mixture.vocabulary)) if among is None else among]
    for count in (1, 12, 200):
        best = distribution.best(count, None if among is None else np.array(among, np.uint32))
        assert [10**log for _, log in best] == pytest.approx(np.sort(p)[::-1][:count].tolist(), rel=1e-4)


def test_a_mixture_by_hand(halves: tuple[Model, Model], mixture: Mixture) -> None:
    first, second = halves
    word = b"citizen"
    p = [10 ** model.log10(model.state_after("first"), model.vocabulary.id(word)) for model in halves]
    mixed = mixture.log10(mixture.state_after("first"), mixture.vocabulary.id(word))
    assert 10**mixed == pytest.approx(0.7 * p[0] + 0.3 * p[1], rel=1e-6)
    only_first = next(
        token for token in (first.vocabulary.token(n) for n in range(3, 900)) if not second.vocabulary.id(token)
    )
    strangers = len(mixture.vocabulary) - len(second.vocabulary)
    expected = 0.7 * 10 ** first.log10((1,), first.vocabulary.id(only_first))
    expected += 0.3 * 10 ** second.log10((1,), 0) / (strangers + 1)
    assert 10 ** mixture.log10(mixture.start(), mixture.vocabulary.id(only_first)) == pytest.approx(expected, rel=1e-6)


def test_a_mixture_scores_word_by_word(mixture: Mixture) -> None:
    text = golden_text("ts_test")[:3000]
    state, total = mixture.start(), 0.0
    for word in mixture.words(text.decode()):
        total += mixture.log10(state, word)
        state = mixture.advance(state, word)
    assert mixture.score(text + b"\n").log10_prob == pytest.approx(
        total + mixture.log10(state, 2), rel=1e-5
    )  # the last sentence ends too


def test_a_tuned_mixture_is_better_than_its_parts(halves: tuple[Model, Model]) -> None:
    lines = golden_text("ts_test").splitlines(keepends=True)
    tuned = tune_mixture(halves, b"".join(lines[:300]))
    rest = b"".join(lines[300:])
    even = Mixture(halves, [0.5, 0.5]).score(rest).perplexity
    ends = [Mixture(halves, weights).score(rest).perplexity for weights in ([0.999, 0.001], [0.001, 0.999])]
    best = tuned.score(rest).perplexity
    assert even is not None
    assert best is not None
    assert best < min(each for each in ends if each is not None)
    assert best < even * 1.01
    assert math.fsum(tuned.weights) == pytest.approx(1)


def test_words_of_a_mixture_are_drawn_as_often_as_they_should(mixture: Mixture) -> None:
    distribution, dice = mixture.distribution(mixture.state_after("the king")), random.Random(3)
    counts = Counter(distribution.draw(dice) for _ in range(20_000))
    for word, log in distribution.best(8):
        p = 10.0**log
        assert abs(counts[word] / 20_000 - p) < 5 * math.sqrt(p / 20_000)


def test_a_mixture_completes_and_suggests(mixture: Mixture) -> None:
    assert mixture.suggest("first", count=1)[0].text == "citizen"
    tokens = list(mixture.complete("the", Options(max_tokens=8, seed=5, ignore_end=True, logprobs=2)))
    assert len([token for token in tokens if isinstance(token, Generated)]) == 8


def test_weights_must_make_one_and_texts_be_read_alike(halves: tuple[Model, Model]) -> None:
    with pytest.raises(InvalidSpec, match="weight"):
        Mixture(halves, [0.7, 0.7])
    letters = model_of(NgramSpec.model_validate({"order": 2, "tokenizer": {"kind": "character"}}), "abc\n")
    with pytest.raises(InvalidSpec, match="same way"):
        Mixture([halves[0], letters], [0.5, 0.5])
