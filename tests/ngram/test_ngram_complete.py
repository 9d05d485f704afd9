"""Completions: what is given back is what was asked for, token by token."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ngram_models import golden_text, model_of

from service.ngram import Finished, Generated, Model, NgramSpec, Options, Sampling


@pytest.fixture(scope="module")
def words() -> Model:
    return model_of(NgramSpec(order=3), golden_text("ts_train"))


@pytest.fixture(scope="module")
def letters() -> Model:
    spec = NgramSpec.model_validate({"order": 4, "tokenizer": {"kind": "character"}})
    return model_of(spec, golden_text("names_train").replace(b" ", b""))


def complete(model: Model, prompt: str, **options: Any) -> tuple[list[Generated], Finished]:
    *tokens, last = model.complete(prompt, Options(**options))
    assert isinstance(last, Finished)
    return [token for token in tokens if isinstance(token, Generated)], last


def text_of(tokens: list[Generated]) -> str:
    return "".join(token.text for token in tokens)


def test_one_seed_one_text(words: Model) -> None:
    texts = {text_of(complete(words, "the", seed=seed, max_tokens=12, ignore_end=True)[0]) for seed in (1, 1, 2, 3)}
    assert len(texts) == 3


def test_the_end_of_a_sentence_ends_it(words: Model) -> None:
    tokens, last = complete(words, "first citizen", sampling=Sampling(0), max_tokens=9)
    assert (text_of(tokens), last) == (" :", Finished("stop", 2, 1))


def test_ignoring_ends_begins_new_lines(words: Model) -> None:
    tokens, last = complete(words, "first citizen", sampling=Sampling(0), max_tokens=9, ignore_end=True)
    assert text_of(tokens).startswith(" :\n")
    assert last == Finished("length", 2, 9)


def test_max_tokens_is_the_length(letters: Model) -> None:
    tokens, last = complete(letters, "q", seed=1, max_tokens=1)
    assert (len(tokens), last) == (1, Finished("length", 1, 1))
    assert complete(letters, "", max_tokens=0) == ([], Finished("length", 0, 0))


def test_words_are_joined_by_blanks_where_none_is(words: Model) -> None:
    greedy: dict[str, Any] = {"sampling": Sampling(0), "max_tokens": 1}
    assert text_of(complete(words, "first", **greedy)[0]) == " citizen"
    assert text_of(complete(words, "first ", **greedy)[0]) == "citizen"


def test_echo_gives_the_prompt_back_with_offsets(words: Model) -> None:
    prompt = " first  citizen :\nwhat "
    tokens, last = complete(words, prompt, echo=True, max_tokens=3, seed=2, logprobs=0)
    given = [token for token in tokens if token.prompt]
    assert text_of(given) == prompt
    assert text_of(tokens).startswith(prompt)
    whole = text_of(tokens)
    assert all(whole[token.offset :].startswith(token.text) for token in tokens)
    assert last.prompt_tokens == 5  # first citizen : </s> what


def test_echoed_log_probabilities_are_the_score(words: Model) -> None:
    text = "we are accounted poor citizens , the patricians good .\n"
    tokens, last = complete(words, text, echo=True, logprobs=1, max_tokens=0)
    total = math.fsum(token.logprob for token in tokens if token.logprob is not None)
    assert total == pytest.approx(words.score(text).log10_prob * math.log(10), rel=1e-6)
    assert last == Finished("length", 11, 0)


def test_alternatives_are_the_best_tokens(words: Model) -> None:
    tokens, _ = complete(words, "first", sampling=Sampling(0), logprobs=3, max_tokens=1)
    (token,) = tokens
    assert len(token.top) == 3
    assert token.top[0][0] == token.text
    assert token.top[0][1] == pytest.approx(token.logprob)
    assert token.top[0][1] >= token.top[1][1] >= token.top[2][1]


@pytest.mark.parametrize("seed", range(6))
def test_a_stop_string_ends_it_and_is_not_shown(letters: Model, seed: int) -> None:
    free, _ = complete(letters, "", seed=seed, max_tokens=30, ignore_end=True)
    whole = text_of(free)
    stop = whole[7:9]
    tokens, last = complete(letters, "", seed=seed, max_tokens=30, ignore_end=True, stop=["#never#", stop])
    assert text_of(tokens) == whole[: whole.index(stop)]
    assert last.reason == "stop"


def test_a_stop_string_in_the_middle_of_a_token_cuts_it(words: Model) -> None:
    tokens, last = complete(words, "first", sampling=Sampling(0), stop=["ize"], max_tokens=5)
    assert (text_of(tokens), last.reason) == (" cit", "stop")


def test_what_only_begins_like_a_stop_string_is_shown(words: Model) -> None:
    tokens, last = complete(words, "first", sampling=Sampling(0), stop=["citizen :!"], max_tokens=2)
    assert (text_of(tokens), last.reason) == (" citizen :", "length")


def test_bytes_make_whole_characters() -> None:
    text = "秦川雄帝宅，函谷壯皇居。\n" * 4
    model = model_of(NgramSpec.model_validate({"order": 6, "tokenizer": {"kind": "byte"}}), text)
    tokens, last = complete(model, "秦川", sampling=Sampling(0), max_tokens=100, echo=True)
    assert text_of(tokens) == "秦川雄帝宅，函谷壯皇居。"
    assert last.reason == "stop"
    assert last.completion_tokens == 30  # ten characters of three bytes


def test_marks_close_up_in_regex_models() -> None:
    spec = NgramSpec.model_validate({"order": 4, "tokenizer": {"kind": "regex"}, "lowercase": True})
    model = model_of(spec, "Well (he said), don't go.\n" * 3)
    tokens, _ = complete(model, "Well", sampling=Sampling(0), max_tokens=30, echo=True)
    assert text_of(tokens) == "Well (he said), don't go."


def test_every_token_can_be_explained(words: Model) -> None:
    tokens, _ = complete(words, "the king", seed=4, max_tokens=8, explain=True, logprobs=0, ignore_end=True)
    for token in tokens:
        assert token.explanation is not None
        assert token.logprob is not None
        log10 = token.explanation.log10 + sum(each.log10 for each in token.explanation.backoffs)
        assert log10 * math.log(10) == pytest.approx(token.logprob, abs=1e-5)
        assert token.explanation.count is not None


def test_the_unknown_word_is_never_drawn() -> None:
    model = model_of(NgramSpec(order=2), "a <unk> <unk> <unk> <unk> b\n" * 5)
    tokens, _ = complete(model, "a", max_tokens=200, ignore_end=True, seed=1)
    assert "<unk>" not in text_of(tokens)
