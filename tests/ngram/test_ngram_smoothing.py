"""Smoothings: worked by hand, normalised after every context, better than no context at all, equal to NLTK's."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngram_models import golden_text, model_of, trained

from service.ngram import Model, NgramSpec

SMOOTHINGS: list[dict[str, Any]] = [
    {"kind": "modified_kneser_ney"},
    {"kind": "kneser_ney"},
    {"kind": "witten_bell"},
    {"kind": "add_k", "k": 0.5},
    {"kind": "absolute_discounting"},
    {"kind": "stupid_backoff"},
]
by_kind = pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=lambda smoothing: str(smoothing["kind"]))


def spec_of(smoothing: dict[str, Any], order: int = 2, **others: Any) -> NgramSpec:
    return NgramSpec.model_validate({"order": order, "smoothing": smoothing, **others})


def p(model: Model, context: str, word: str) -> float:
    return float(10.0 ** model.log10(model.state_after(context), model.vocabulary.id(word.encode())))


# The text of all examples: two sentences, "a b" and "a c".
# Counts: a 2, </s> 2, b 1, c 1: 6 tokens, 4 types. Bigrams: <s> a 2, a b 1, a c 1, b </s> 1, c </s> 1.
# Words that can come next: <unk> </s> a b c, so V = 5 and the uniform probability is 1/5.
TWO = "a b\na c\n"


def test_witten_bell_by_hand() -> None:
    model = model_of(spec_of({"kind": "witten_bell"}), TWO)
    # (2 + 4 * 1/5) / (6 + 4) = 0.28; b: (1 + 0.8) / 10 = 0.18; <unk>: 0.8 / 10 = 0.08
    assert p(model, "b", "a") * 2 == pytest.approx(0.28)  # b: n = 1, T = 1, so half of what "a" has alone
    # after a: n = 2, T = 2: (1 + 2 * 0.18) / 4 = 0.34; unseen </s>: 2 * 0.28 / 4 = 0.14
    assert p(model, "a", "b") == pytest.approx(0.34)
    assert p(model, "a", "</s>") == pytest.approx(0.14)
    assert p(model, "a", "never") == pytest.approx(0.5 * 0.08)


def test_add_k_by_hand() -> None:
    model = model_of(spec_of({"kind": "add_k", "k": 1.0}), TWO)
    assert p(model, "a", "b") == pytest.approx(2 / 7)  # (1 + 1) / (2 + 5)
    assert p(model, "a", "</s>") == pytest.approx(1 / 7)  # (0 + 1) / (2 + 5)
    assert p(model, "a", "never") == pytest.approx(1 / 7)
    assert p(model, "never", "a") == pytest.approx(3 / 11)  # no such context: (2 + 1) / (6 + 5)


def test_absolute_discounting_by_hand() -> None:
    model = model_of(spec_of({"kind": "absolute_discounting", "discount": 0.5}), TWO)
    # b alone: 0.5/6 + (4 * 0.5 / 6) / 5 = 0.15; after a: 0.5/2 + (2 * 0.5 / 2) * 0.15 = 0.325
    assert p(model, "a", "b") == pytest.approx(0.325)


def test_kneser_ney_by_hand() -> None:
    model = model_of(spec_of({"kind": "kneser_ney", "discount": 0.5}), TWO)
    # different words to the left: a 1 (<s>), b 1, c 1, </s> 2: 5 in all
    # b alone: 0.5/5 + (4 * 0.5 / 5) / 5 = 0.18; after a: 0.5/2 + (2 * 0.5 / 2) * 0.18 = 0.34
    assert p(model, "a", "b") == pytest.approx(0.34)
    # </s> alone: 1.5/5 + 0.08 = 0.38; after a it is unseen: 0.5 * 0.38
    assert p(model, "a", "</s>") == pytest.approx(0.19)


def test_modified_kneser_ney_by_hand() -> None:
    last, warnings = trained(spec_of({"kind": "modified_kneser_ney"}), TWO)
    assert [message for message in warnings if "no discounts" in message] == warnings != []
    model = model_of(spec_of({"kind": "modified_kneser_ney"}), TWO)
    # nothing is seen three times, so the discounts are 0.5, 1 and 1.5
    # b alone: 0.5/5 + gamma/5 with gamma = (3 * 0.5 + 1) / 5 = 0.5: 0.2; after a: 0.5/2 + 0.5 * 0.2 = 0.35
    assert p(model, "a", "b") == pytest.approx(0.35)
    # </s> alone: (2 - 1)/5 + 0.1 = 0.3; after b it is certain but for its discount: 0.5/1 + 0.5 * 0.3
    assert p(model, "b", "</s>") == pytest.approx(0.65)
    assert last.ngrams == (6, 5)


def test_stupid_backoff_by_hand() -> None:
    model = model_of(spec_of({"kind": "stupid_backoff"}), TWO)
    # S(w): 2/6, 1/6, ...; <unk> 0.4 * 1/5; their sum Z = 1 + 0.4 * (1 - 4/5) = 1.08
    # after a: S(b) = 1/2, S(</s>) = 0.4 * 2/6; Z(a) = 1 + 0.4 * (1.08 - 1/6 - 1/6) = 1.298667
    z = 1 + 0.4 * (1.08 - 2 / 6)
    assert p(model, "a", "b") == pytest.approx(0.5 / z)
    assert p(model, "a", "</s>") == pytest.approx(0.4 * 2 / 6 / z)
    assert p(model, "a", "never") == pytest.approx(0.4 * 0.4 / 5 / z)


@by_kind
@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.lists(st.sampled_from("abcdef"), max_size=9).map(" ".join), min_size=1, max_size=25),
    context=st.lists(st.sampled_from("abcdefz"), max_size=5).map(" ".join),
    order=st.integers(1, 5),
    least=st.integers(0, 2),
)
def test_probabilities_after_any_context_sum_to_one(
    smoothing: dict[str, Any], lines: list[str], context: str, order: int, least: int
) -> None:
    text = "\n".join(["a b", *lines])
    model = model_of(spec_of(smoothing, order, prune=[0, least, least][:order]), text)
    assert math.fsum(model.probabilities(model.state_after(context))) == pytest.approx(1.0, abs=2e-6)


@by_kind
def test_every_smoothing_beats_the_unigram(smoothing: dict[str, Any]) -> None:
    text, unseen = golden_text("names_train"), golden_text("names_test")
    unigram = model_of(spec_of(smoothing, 1), text).score(unseen).perplexity
    trigram = model_of(spec_of(smoothing, 3), text).score(unseen).perplexity
    assert unigram is not None
    assert trigram is not None
    assert trigram < 0.75 * unigram


def test_add_k_has_no_discounts_and_never_warns() -> None:
    _, warnings = trained(spec_of({"kind": "add_k"}), TWO)
    assert warnings == []


def test_given_discounts_are_used_and_told() -> None:
    model = model_of(spec_of({"kind": "kneser_ney", "discount": 0.25}), TWO)
    assert model.facts["discounts"] == [[0.25, 0.25, 0.25]] * 2


@pytest.mark.oracle
@pytest.mark.parametrize("k", [1.0, 0.1])
def test_add_k_is_nltks_lidstone(k: float) -> None:
    lm = pytest.importorskip("nltk.lm", reason="needs NLTK")
    sentences = [line.split() for line in golden_text("ts_train").decode().splitlines()[:400]]
    ours = model_of(spec_of({"kind": "add_k", "k": k}), "\n".join(map(" ".join, sentences)))
    theirs = lm.Lidstone(k, 2, vocabulary=lm.Vocabulary(_words(ours)))
    padded = [("<s>", *each, "</s>") for each in sentences]
    theirs.fit([[each[i : i + 2] for i in range(len(each) - 1)] for each in padded])
    for context, word in [("first", "citizen"), ("the", "people"), ("we", "zzz"), (":", "</s>")]:
        assert p(ours, context, word) == pytest.approx(theirs.score(theirs.vocab.lookup(word), (context,)), rel=1e-5)


@pytest.mark.oracle
def test_stupid_backoff_ranks_and_scales_as_nltks() -> None:
    lm = pytest.importorskip("nltk.lm", reason="needs NLTK")
    sentences = [line.split() for line in golden_text("ts_train").decode().splitlines()[:400]]
    ours = model_of(spec_of({"kind": "stupid_backoff"}), "\n".join(map(" ".join, sentences)))
    theirs = lm.StupidBackoff(0.4, 2, vocabulary=lm.Vocabulary(_words(ours)))
    padded = [("<s>", *each, "</s>") for each in sentences]
    pairs = [[each[i : i + 2] for i in range(len(each) - 1)] for each in padded]
    theirs.fit([pair + [(word,) for word in each[1:]] for pair, each in zip(pairs, padded, strict=True)])
    words = ["citizen", "people", "the", "</s>", ":"]
    ratios = [p(ours, "first", word) / theirs.score(word, ("first",)) for word in words]
    assert ratios == pytest.approx([ratios[0]] * len(words), rel=1e-5)


def _words(model: Model) -> list[str]:
    """What NLTK is to know: the same words, so that both have the same V."""
    words = [model.vocabulary.token(number).decode() for number in range(2, len(model.vocabulary))]
    assert not any(re.search(r"\s", word) for word in words)
    return words
