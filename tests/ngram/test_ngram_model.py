"""Look-ups and distributions: every way to ask gives the same answer, and draws come as often as they should."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ngram_models import golden_text, model_of, trained

from service import tensors
from service.errors import InvalidData
from service.ngram import Model, NgramSpec, Sampling
from service.ngram.contract import END, RESERVED, START, UNKNOWN
from service.ngram.model import State
from service.ngram.vocabulary import arranged, digest

CONTEXTS = ["", "the", "the king", "first citizen :", "i will not", "zzz", "zzz the", "you , my lord ,"]


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(NgramSpec(order=4), golden_text("ts_train"))


@pytest.fixture(scope="module", params=[{}, {"smoothing": {"kind": "add_k", "k": 0.01}}, {"prune": [0, 0, 1]}], ids=str)
def any_model(request: pytest.FixtureRequest) -> Model:
    return model_of(NgramSpec.model_validate({"order": 3, **request.param}), golden_text("ts_train"))


@pytest.mark.parametrize("context", CONTEXTS)
def test_one_word_and_all_words_are_looked_up_alike(any_model: Model, context: str) -> None:
    state = any_model.state_after(context)
    all_words = np.log10(any_model.probabilities(state)[2:])
    each = [any_model.log10(state, word) for word in range(2, len(any_model.vocabulary))]
    assert all_words == pytest.approx(np.array(each), abs=1e-6)


def test_a_batch_scores_as_word_by_word(any_model: Model) -> None:
    text = golden_text("ts_test")
    (batch,) = list(any_model.token_scores(text))
    state, each = any_model.start(), []
    for word in batch.ids.tolist():
        each.append(any_model.log10(state, word))
        state = any_model.advance(state, word)
    assert batch.log10 == pytest.approx(np.array(each), abs=1e-5)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("among", [None, range(3, 4000), range(40, 400, 7), range(41, 42), range(0)])
def test_the_best_words_are_the_best_of_all(any_model: Model, context: str, among: range | None) -> None:
    state = any_model.state_after(context)
    ids = (
        range(END, len(any_model.vocabulary)) if among is None else [n for n in among if n < len(any_model.vocabulary)]
    )
    p = any_model.probabilities(state)[ids]
    for count in (1, 10, 300):
        best = any_model.distribution(state).best(count, None if among is None else np.array(ids, np.uint32))
        assert [10.0**log for _, log in best] == pytest.approx(np.sort(p)[::-1][:count].tolist(), rel=1e-5)
        assert [10.0**log for _, log in best] == pytest.approx([p[ids.index(word)] for word, _ in best], rel=1e-5)


def test_crowded_continuations_are_found() -> None:
    """Where words of one context crowd in one corner of the vocabulary, the guess is lost and the range is searched."""
    words = [f"b{number:04}".encode() for number in range(9900)]
    places = arranged(np.array([digest(word) for word in [*RESERVED, *words]], np.uint64))[3:] - 3
    ordered = [words[at].decode() for at in places]
    crowd, others = ordered[:900], ordered[900:]
    text = "\n".join(["x " + word for word in crowd] + ["y " + word for word in others[::40]] + [" ".join(others)])
    model = model_of(NgramSpec(order=2), text)
    state = model.state_after("x")
    low, high = model.trie.children(1, state[0])
    ids = [model.vocabulary.id(word.encode()) for word in crowd]
    detours = (model.trie._grams[2][low:high].astype(np.uint32) >> np.uint32(24)).tolist()
    assert 128 in detours  # or this text tests nothing
    assert [model.trie.child(1, state[0], word) for word in ids] == list(range(low, high))
    assert model.trie.child(1, state[0], model.vocabulary.id(others[1].encode())) == -1
    asked = ordered[: 900 + 2000 : 3]
    expected = [model.log10(state, model.vocabulary.id(word.encode())) for word in asked]
    scores = np.concatenate([each.log10[1::3] for each in model.token_scores("".join(f"x {word}\n" for word in asked))])
    assert scores == pytest.approx(np.array(expected), abs=1e-6)


def test_an_incremental_state_is_a_fresh_one(model: Model) -> None:
    words = golden_text("ts_test").decode().split()[:200]
    state: State = model.start()
    for at, word in enumerate(words):
        state = model.advance(state, model.vocabulary.id(word.encode()))
        fresh = (model.vocabulary.id(word.encode()),)
        if at > 20:
            recent: State = ()
            for earlier in words[at - 4 : at + 1]:
                recent = model.advance(recent, model.vocabulary.id(earlier.encode()))
            assert state == recent
        assert state[:1] == fresh


DRAWS = 6_000


@pytest.mark.parametrize("context", ["the king", "", "zzz"])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.7),
        Sampling(top_p=0.5),
        Sampling(1.3, 0.8),
        Sampling(0.8, 1.0, 20),
        Sampling(1, 0.6, 9),
    ],
    ids=str,
)
def test_words_are_drawn_as_often_as_they_should(model: Model, context: str, sampling: Sampling) -> None:
    state, dice = model.state_after(context), random.Random(1)
    p = model.probabilities(state)
    p[[UNKNOWN, START]] = 0
    expected = _filtered(p, sampling)
    distribution = model.distribution(state)
    counts = Counter(distribution.sample(sampling, dice) for _ in range(DRAWS))
    drawn = np.array([counts[word] for word in range(len(p))]) / DRAWS
    assert not drawn[expected == 0].any()
    frequent = expected > 0.002
    spread = np.sqrt(expected[frequent] * (1 - expected[frequent]) / DRAWS)
    assert (np.abs(drawn - expected)[frequent] <= 5 * spread + 1e-9).all()
    assert drawn[~frequent].sum() == pytest.approx(expected[~frequent].sum(), abs=0.03)


def _filtered(p: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Temperature, then the best top_k, then the fewest that have top_p; spelled out on the whole distribution."""
    p = p ** (1 / sampling.temperature)
    order = np.argsort(-p, kind="stable")[: sampling.top_k or None]
    masses = np.cumsum(p[order]) / p[order].sum()
    order = order[: int(np.searchsorted(masses, sampling.top_p - 1e-9)) + 1]
    kept = np.zeros_like(p)
    kept[order] = p[order] / p[order].sum()
    return kept


def test_temperature_zero_takes_the_best_word(model: Model) -> None:
    state = model.state_after("first")
    assert model.distribution(state).sample(Sampling(0), random.Random()) == model.distribution(state).best(1)[0][0]


def test_suggestions_begin_with_the_prefix(model: Model) -> None:
    words = [each.text for each in model.suggest("the", "ki", 5)]
    assert words[0] == "king"
    assert all(word.startswith("ki") for word in words)
    assert model.suggest("the", "qqq") == []
    assert [each.text for each in model.suggest("first", count=1)] == ["citizen"]


def test_suggestions_are_words_and_not_ends(model: Model) -> None:
    assert not {"</s>", "<s>", "<unk>"} & {each.text for each in model.suggest("speak", count=5000)}


def test_an_explanation_adds_up(model: Model) -> None:
    history = [START, *(model.vocabulary.id(word) for word in (b"the", b"king"))]
    state = model.state_after("the king")
    for word in (b",", b"citizen", b"zzz"):
        number = model.vocabulary.id(word)
        why = model.explain(state, history, number)
        total = why.log10 + sum(each.log10 for each in why.backoffs)
        assert total == pytest.approx(model.log10(state, number), abs=1e-6)
        assert len(why.ngram) + len(why.backoffs) <= 4


def test_counts_are_those_of_the_text(model: Model) -> None:
    text = golden_text("ts_train").decode()
    spread = [["<s>", *line.split(), "</s>"] for line in text.splitlines()]
    pairs = Counter(pair for line in spread for pair in pairwise(line))
    for first, second in [(b"first", b"citizen"), (b"of", b"the"), (b",", b"and"), (b":", b"</s>")]:
        node = model.trie.child(1, model.vocabulary.id(first), model.vocabulary.id(second))
        assert model.trie.count(2, node) == pairs[first.decode(), second.decode()]
    assert model.trie.count(1, model.vocabulary.id(b",")) == text.split().count(",") > 255


def test_a_model_read_by_memory_map_answers_as_the_one_just_trained(tmp_path: Path) -> None:
    last, _ = trained(NgramSpec(order=3), golden_text("ts_train"))
    path = tmp_path / "model.safetensors"
    tensors.write(path, last.arrays, last.metadata)
    mapped = Model(tensors.read(path))
    fresh = Model(tensors.Tensors(dict(last.arrays), dict(last.metadata)))
    assert mapped.score(golden_text("ts_test")) == fresh.score(golden_text("ts_test"))
    assert mapped.sizes() == last.ngrams
    assert mapped.spec == NgramSpec(order=3)


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidData, match="no n-gram model"):
        Model(tensors.Tensors({}, {"kind": "network"}))


def test_scores_add_up_and_an_empty_text_has_no_perplexity(model: Model) -> None:
    first, second = model.score("first citizen :\n"), model.score("zzz")
    both = model.score("first citizen :\nzzz")
    assert first + second == both
    assert (both.tokens, both.oov, both.sentences) == (6, 1, 2)
    assert model.score("").perplexity is None
    assert model.score("\n").tokens == 1
    assert END == 2
