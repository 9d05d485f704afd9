"""Training: what the caller hears, what is refused, and what a training needs."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from ngram_models import golden_text, model_of, trained
from pydantic import TypeAdapter, ValidationError

from service.errors import DataUnusable, TooLarge
from service.ngram import NgramSpec, Progressed, Trained, plan, train
from service.ngram.plan import peak_bytes
from service.ngram.smoothing import Smoothing
from service.ngram.tokenizers import AnyTokenizer, Tokenizer


def test_progress_rises_from_phase_to_phase() -> None:
    events = list(train(NgramSpec(order=4), golden_text("ts_train")))
    progress = [event for event in events if isinstance(event, Progressed)]
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == pytest.approx(1)
    assert list(dict.fromkeys(event.phase for event in progress)) == ["reading", "sorting", "counting", "smoothing"]


def test_the_last_event_tells_what_was_trained() -> None:
    last, warnings = trained(NgramSpec(order=2), b"a b\na c\n")
    assert (last.tokens, last.sentences, last.vocabulary, last.ngrams) == (4, 2, 6, (6, 5))
    assert warnings  # too little text for discounts


def test_a_text_may_be_a_memory_view() -> None:
    text = golden_text("names_train")
    whole, _ = trained(NgramSpec(order=3), text)
    *_, last = train(NgramSpec(order=3), memoryview(text))
    assert isinstance(last, Trained)
    assert all(np.array_equal(array, whole.arrays[name]) for name, array in last.arrays.items())


@pytest.mark.parametrize("text", [b"", b"\n\n", b" \t\n"])
def test_a_text_without_tokens_is_refused(text: bytes) -> None:
    with pytest.raises(DataUnusable, match="no token"):
        list(train(NgramSpec(), text))


@pytest.mark.parametrize(("ngrams", "phases"), [(0, {"reading", "sorting"}), (-1, {"reading"})])
def test_a_text_that_needs_too_much_memory_is_refused_in_time(ngrams: int, phases: set[str]) -> None:
    """Once before the tokens are sorted, and once they are, before the n-grams there are take their place."""
    spec, text = NgramSpec(order=5), golden_text("ts_train")
    enough = peak_bytes(spec, 49305, 4843, len(text), ngrams=[])
    heard: set[str] = set()
    with pytest.raises(TooLarge, match="MiB"):
        heard.update(
            event.phase for event in train(spec, text, memory_bytes=enough + ngrams) if isinstance(event, Progressed)
        )
    assert heard <= phases
    assert trained(spec, text)


def test_reserved_words_in_the_text_are_reported() -> None:
    _, warnings = trained(NgramSpec(order=2), "<s> a b </s>\na <unk> c\n")
    reported = [message for message in warnings if "reserved" in message]
    assert len(reported) == 3
    model = model_of(NgramSpec(order=2), "<s> a b </s>\na <unk> c\n")
    assert model.facts["tokens"] == 5
    assert model.log10(model.state_after("a"), 0) > -1  # the unknown word was seen after a


@pytest.mark.parametrize("order", [1, 2, 5, 10])
@pytest.mark.parametrize("text", ["a", "a\n", "\na\n\n", "a a a a a a a a a a a a\n", "a b\n" * 50])
def test_tiny_and_odd_texts_are_trained_with_a_warning(order: int, text: str) -> None:
    model = model_of(NgramSpec(order=order), text)
    assert model.probabilities(model.state_after("a")).sum() == pytest.approx(1)


BOOK = "It is a truth\nuniversally acknowledged, that a single man in possession of\na good fortune must be in want\n\n"


@pytest.mark.parametrize(
    ("sentences", "text", "wrapped"),
    [
        ("line", BOOK * 20, True),
        ("paragraph", BOOK * 20, False),
        ("line", BOOK.lower() * 20, False),  # sentences of somebody who does not shift
        ("line", BOOK.replace("\n\n", "\n") * 20, False),  # nothing would be left to end a sentence
        ("line", BOOK.title() * 20, False),  # verses
        ("line", BOOK, False),  # too little to tell
        ("line", "anna\nbert\n\nClaus\ndora\nemil\n\n" * 20, False),  # single words
        ("line", "\n" * 100, False),
    ],
)
def test_lines_that_break_off_inside_sentences_are_told(sentences: str, text: str, wrapped: bool) -> None:
    spec = NgramSpec.model_validate({"order": 2, "sentences": sentences})
    planned = plan(spec, len(text), text.encode())
    assert ['"sentences": "paragraph"' in message for message in planned.warnings] == [True] * wrapped
    if text.strip():
        assert set(planned.warnings) == {m for m in trained(spec, text)[1] if "paragraph" in m}


def test_a_plan_knows_how_many_tokens_a_text_has() -> None:
    text = golden_text("ts_train")
    for tokenizer in ("word", "regex", "character", "byte"):
        spec = NgramSpec.model_validate({"order": 5, "tokenizer": {"kind": tokenizer}})
        last, _ = trained(spec, text)
        planned = plan(spec, len(text), text[:65536])
        assert planned.tokens == pytest.approx(last.tokens + last.sentences, rel=0.35)


def test_a_plan_of_order_five_needs_at_most_110_bytes_a_token() -> None:
    text = golden_text("ts_train")
    planned = plan(NgramSpec(order=5), 1000 * len(text), text)
    assert planned.bytes < 110 * planned.tokens


def test_pruning_keeps_what_is_seen_more_often() -> None:
    last, _ = trained(NgramSpec(order=3, prune=[0, 1, 2]), golden_text("ts_train"))
    model = model_of(NgramSpec(order=3, prune=[0, 1, 2]), golden_text("ts_train"))
    assert last.ngrams[0] == 4843
    assert min(model.trie.count(2, node) for node in range(last.ngrams[1])) == 2
    assert min(model.trie.count(3, node) for node in range(last.ngrams[2])) == 3


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        ({"order": 0}, "greater than or equal to 1"),
        ({"order": 11}, "less than or equal to 10"),
        ({"order": "3"}, "valid integer"),
        ({"order": True}, "valid integer"),
        ({"prune": [1]}, "first threshold"),
        ({"prune": [0, 2, 1]}, "must not fall"),
        ({"order": 2, "prune": [0, 0, 1]}, "more thresholds"),
        ({"smoothing": {"kind": "add_k", "k": 0}}, "greater than 0"),
        ({"smoothing": {"kind": "add_k", "k": float("nan")}}, "finite"),
        ({"smoothing": {"kind": "kneser"}}, "does not match any of the expected tags"),
        ({"smoothing": {"k": 1}}, "discriminator"),
        ({"tokenizer": {"kind": "word", "pattern": "x"}}, "Extra inputs"),
        ({"ordr": 2}, "Extra inputs"),
    ],
)
def test_a_faulty_spec_is_refused(faulty: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NgramSpec.model_validate(faulty)


def _classes() -> list[Any]:
    return [*get_args(get_args(Smoothing)[0]), *get_args(AnyTokenizer)]


@pytest.mark.parametrize("each", _classes(), ids=lambda each: each.__name__)
def test_a_kind_is_the_snake_case_of_its_class_and_required(each: Any) -> None:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", each.__name__).lower()
    assert each().kind == snake
    assert "kind" in each.model_json_schema()["required"]
    assert each.__doc__


def test_a_spec_survives_json() -> None:
    for tokenizer in get_args(AnyTokenizer):
        for smoothing in get_args(get_args(Smoothing)[0]):
            spec = NgramSpec(order=4, tokenizer=tokenizer(), smoothing=smoothing(), prune=[0, 0, 1])
            assert NgramSpec.model_validate_json(spec.model_dump_json()) == spec
    assert TypeAdapter(Tokenizer).validate_python({"kind": "byte"}).kind == "byte"
