"""Answers that can be checked with a pencil: predictions, completions, scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_models import opened, points_model, publish, text_model

from service.errors import InvalidData
from service.ngram import Finished, Options, Sampling
from service.serving import Registry, complete, predict, score, stream
from service.storage import Store

ALWAYS = "the cat sat\n" * 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def test_probabilities_are_the_softmax_of_the_row(tmp_path: Path, store: Store) -> None:
    served = Registry(store, 0).get(publish(store, points_model(tmp_path, np.eye(2))))
    as_object, as_list = predict(served, [{"x": 2.0, "y": 1.0}, [0.0, 3.0]])
    # softmax(2, 1) = (e, 1) / (e + 1); left comes first, by the alphabet
    assert as_object["label"] == "left"
    assert as_object["probability"] == pytest.approx(math.e / (math.e + 1), rel=1e-6)
    assert as_object["probabilities"] == pytest.approx({"left": math.e / (math.e + 1), "right": 1 / (math.e + 1)})
    assert (as_list["label"], list(as_list["probabilities"])) == ("right", ["right", "left"])
    (best,) = predict(served, [[0.0, 3.0]], top_k=1)
    assert best["probabilities"].keys() == {"right"}


def test_every_row_that_does_not_fit_is_named(tmp_path: Path, store: Store) -> None:
    served = Registry(store, 0).get(publish(store, points_model(tmp_path, np.eye(2))))
    with pytest.raises(InvalidData) as caught:
        predict(served, [[1.0, 2.0], [1.0], {"x": 1.0, "z": 1.0}])
    places = {fault.pointer for fault in caught.value.faults}
    assert "/rows/1" in places
    assert any(place.startswith("/rows/2") for place in places)
    assert not any(place.startswith("/rows/0") for place in places)
    with pytest.raises(InvalidData) as caught:
        predict(served, [{"x": "one", "y": 1.0}, [2.0, 1.0], [1.0, "two"]])
    assert [fault.pointer for fault in caught.value.faults] == ["/rows/0/x", "/rows/2/y"]


def test_a_text_that_always_goes_on_alike_is_continued_so(store: Store) -> None:
    model = Registry(store, 0).get(publish(store, text_model(ALWAYS), "ngram")).text()
    greedy = Options(sampling=Sampling(temperature=0))
    (choice,) = complete(model, ["the"], greedy)
    assert choice.text.split() == ["cat", "sat"]
    assert (choice.finish_reason, choice.prompt_tokens, choice.completion_tokens) == ("stop", 1, 2)
    (cut,) = complete(model, ["the"], Options(max_tokens=1, sampling=Sampling(temperature=0)))
    assert (cut.text.strip(), cut.finish_reason) == ("cat", "length")


def test_seeds_repeat_and_choices_differ(store: Store) -> None:
    text = "".join(f"{a} {b} {c}\n" for a in "abc" for b in "abc" for c in "abc")
    model = Registry(store, 0).get(publish(store, text_model(text), "ngram")).text()
    options = Options(seed=5, max_tokens=8)
    first, again = complete(model, ["", "a"], options, n=4), complete(model, ["", "a"], options, n=4)
    assert first == again
    assert [each.index for each in first] == list(range(8))
    assert len({each.text for each in first}) > 2
    streamed = list(stream(model, ["", "a"], options, 4))
    for choice in first:
        tokens = [token for index, token in streamed if index == choice.index]
        assert "".join(token.text for token in tokens if not isinstance(token, Finished)) == choice.text
        assert isinstance(tokens[-1], Finished)


def test_the_best_of_several_is_the_likeliest(store: Store) -> None:
    model = Registry(store, 0).get(publish(store, text_model(ALWAYS + "the dog ran\n"), "ngram")).text()
    options = Options(seed=1, max_tokens=3, logprobs=0)
    every = complete(model, ["the"], options, n=10)
    (best,) = complete(model, ["the"], options, n=1, best_of=10)
    assert best.text == max(every, key=lambda choice: choice.likelihood()).text
    assert best.index == 0


def test_scores_of_several_texts_add_up(store: Store) -> None:
    model = Registry(store, 0).get(publish(store, text_model(ALWAYS), "ngram")).text()
    total, (known, unknown) = score(model, ["the cat sat\n", "the cow sat\n"])
    assert total.log10_prob == pytest.approx(known.log10_prob + unknown.log10_prob)
    assert (known.tokens, known.oov, unknown.oov) == (4, 0, 1)  # three words and the sentence's end
    assert known.perplexity is not None
    assert known.perplexity == pytest.approx(10 ** (-known.log10_prob / 4))
    assert unknown.log10_prob < known.log10_prob
