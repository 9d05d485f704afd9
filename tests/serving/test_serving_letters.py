"""A letter network as a language model: whatever way a text is read, the state is the same."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from service.data import Letters
from service.engine import Network, NetworkSpec, Signature, State, Stream
from service.ngram import Finished, Options, Sampling
from service.serving.letters import LetterModel
from service.tensors import Array

CHARACTERS = "\n abcß猫"
SIZE = len(CHARACTERS) + 1


@pytest.fixture(scope="module")
def network() -> Network:
    """A GRU with weights drawn by a seed: it has learned nothing, and foretells something everywhere."""
    layers = [{"kind": "gru", "units": 4}, {"kind": "dense", "units": SIZE, "activation": "softmax"}]
    random = np.random.default_rng(3)
    shapes = {"0.weight_ih_l0": (12, SIZE), "0.weight_hh_l0": (12, 4), "0.bias_ih_l0": (12,), "0.bias_hh_l0": (12,),
              "1.weight": (SIZE, 4), "1.bias": (SIZE,)}  # fmt: skip
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    signature = Signature((9,), "int32", vocabulary=SIZE)
    return Network(NetworkSpec.model_validate({"layers": layers}), signature, SIZE, weights)


@pytest.fixture(scope="module")
def model(network: Network) -> LetterModel:
    return LetterModel(network.stream(), Letters(CHARACTERS, 9))


def said(model: LetterModel, prompt: str, **options: object) -> tuple[str, Finished]:
    *tokens, last = model.complete(prompt, Options(**options))  # type: ignore[arg-type]
    assert isinstance(last, Finished)
    return "".join(token.text for token in tokens if not isinstance(token, Finished)), last


def test_a_prompt_read_at_once_is_that_read_letter_by_letter(model: LetterModel) -> None:
    prompt = "ab ß猫?\n" * 20  # the question mark is unknown
    state = model.start()
    for word in model.words(prompt):
        state = model.advance(state, word)
    np.testing.assert_allclose(model.state_after(prompt).p, state.p, atol=1e-6)
    whole, last = said(model, prompt, max_tokens=30, seed=1)
    echoed, other = said(model, prompt, max_tokens=30, seed=1, echo=True)
    assert echoed == prompt + whole
    assert last == other == Finished("length", len(prompt), 30)


class Counted:
    """A stream that counts the steps it reads."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.steps = stream, 0

    def start(self) -> State:
        return self.stream.start()

    def read(self, state: State, x: Array) -> tuple[State, Array]:
        self.steps += len(x)
        return self.stream.read(state, x)


def test_every_letter_is_read_once_however_long_the_text_is(network: Network) -> None:
    counted = Counted(network.stream())
    model = LetterModel(counted, Letters(CHARACTERS, 9))
    for echo in (False, True):
        counted.steps = 0
        said(model, "ab c\n" * 40, max_tokens=100, seed=1, echo=echo, logprobs=2)
        assert counted.steps == 200 + 100


def test_a_score_is_the_sum_of_the_steps(model: LetterModel) -> None:
    text = "abc ß\n猫?b"
    state, total, unknown = model.start(), 0.0, 0.0
    for word in model.words(text):
        log10 = model.distribution(state).log10(word)
        total, unknown = total + log10, unknown + (log10 if word == 0 else 0.0)
        state = model.advance(state, word)
    score = model.score(text)
    assert (score.tokens, score.oov, score.sentences) == (9, 1, 2)
    assert score.log10_prob == pytest.approx(total, rel=1e-5)
    assert score.log10_prob_oov == pytest.approx(unknown, rel=1e-5)
    assert model.score("").perplexity is None


def test_probabilities_sum_to_one_and_the_unknown_is_never_drawn(model: LetterModel) -> None:
    state = model.state_after("ab")
    assert float(state.p.sum()) == pytest.approx(1, abs=1e-6)
    distribution, dice = model.distribution(state), random.Random(5)
    drawn = Counter(distribution.sample(Sampling(), dice) for _ in range(4000))
    known = state.p[1:] / state.p[1:].sum()
    assert not {0, 1, 2} & set(drawn)
    for id, p in enumerate(known.tolist()):
        assert drawn[id + 3] / 4000 == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 4000) + 1e-3)


def test_top_k_and_temperature_leave_out_what_they_should(model: LetterModel) -> None:
    distribution, dice = model.distribution(model.state_after("c")), random.Random(5)
    best = [word for word, _ in distribution.best(2)]
    assert {distribution.sample(Sampling(top_k=2), dice) for _ in range(300)} == set(best)
    assert {distribution.sample(Sampling(temperature=0), dice) for _ in range(5)} == {best[0]}
    few = distribution.sample(Sampling(top_p=1e-6), dice)
    assert few == best[0]


def test_next_letters_are_suggested_with_their_probabilities(model: LetterModel) -> None:
    state = model.state_after("a")
    found = model.suggest("a", count=20)
    assert sorted(each.text for each in found) == sorted(CHARACTERS)
    assert found[0].probability == pytest.approx(float(state.p[1:].max()), rel=1e-5)
    assert [each.text for each in model.suggest("a", "猫")] == ["猫"]


def test_a_text_ends_only_where_it_is_told_to(model: LetterModel) -> None:
    text, last = said(model, "", max_tokens=500, seed=2)
    assert (len(text), last.reason) == (500, "length")
    cut, last = said(model, "", max_tokens=500, seed=2, stop=["\n"])
    assert (cut, last.reason) == (text.split("\n")[0], "stop")
