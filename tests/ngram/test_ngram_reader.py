"""Texts become tokens: KenLM's blanks, sentences, normal forms; the same in blocks, and the same for prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ngram import NgramSpec
from service.ngram.contract import END
from service.ngram.numbering import Growing
from service.ngram.prompt import pieces
from service.ngram.reader import Reader, blocks
from service.ngram.vocabulary import PADDING, Vocabulary, digest, digests

TOKENIZERS = ["word", "regex", "character", "byte"]
SENTENCES = ["line", "paragraph", "document"]


def spec_of(tokenizer: str = "word", **others: Any) -> NgramSpec:
    return NgramSpec.model_validate({"tokenizer": {"kind": tokenizer}, **others})


def read(spec: NgramSpec, text: bytes, block: int = 1 << 19) -> list[bytes | None]:
    """The tokens of a text; None where a sentence ends."""
    numbering = Growing(spec.tokenizer.unit)
    reader = Reader(spec, numbering)
    stream = np.concatenate([*(reader.read(piece) for piece in blocks(text, block)), reader.close()])
    tokens, _, final = numbering.settle()
    return [None if number == END else tokens[number] for number in final[stream]]


def shown(tokens: list[bytes | None]) -> str:
    return " ".join("|" if token is None else token.decode("utf-8", "replace") for token in tokens)


@pytest.mark.parametrize(
    ("tokenizer", "others", "text", "expected"),
    [
        ("word", {}, b"a b\nc\n", "a b | c |"),
        ("word", {}, b"a b\nc", "a b | c |"),
        ("word", {}, b"a\n\nb\n", "a | | b |"),  # an empty line is a sentence, as in lmplz
        ("word", {"blank_lines": "skip"}, b"\n\na\n \n\nb\n\n", "a | b |"),
        ("word", {}, b"a\tb\rc\0d\r\n", "a b c d |"),
        ("word", {}, b"a\x0bb c\xa0d\xc2\xa0e\n", "a\x0bb c\ufffdd\xa0e |"),  # no blanks: vertical tab, no-break space
        ("word", {"sentences": "paragraph"}, b"a\nb\n\n\nc\n \nd", "a b | c | d |"),
        ("word", {"sentences": "document"}, b"a\nb\n\nc\n", "a b c |"),
        ("word", {"lowercase": True}, "Äß A".encode(), "äß a |"),
        ("word", {"normalize": "nfc"}, "e\u0301".encode(), "\u00e9 |"),
        ("word", {"normalize": "nfkc"}, "ﬁn".encode(), "fin |"),
        ("regex", {}, 'Don’t stop, it\'s "me"\n'.encode(), 'Don’t stop , it\'s " me " |'),
        ("character", {}, "秦川 雄\n".encode(), "秦 川   雄 |"),
        ("character", {}, b"a\r\nb", "a | b |"),
        ("character", {"sentences": "document"}, b"a\nb\n", "a \n b \n |"),
        ("character", {"sentences": "paragraph"}, b"a\nb\n\n\nc", "a \n b | c |"),
        ("byte", {}, b"a\xe7\n", "a \ufffd |"),
    ],
)
def test_a_text_is_cut_as_described(tokenizer: str, others: dict[str, Any], text: bytes, expected: str) -> None:
    assert shown(read(spec_of(tokenizer, **others), text)) == expected


@pytest.mark.parametrize("tokenizer", ["word", "character"])
def test_two_texts_have_the_words_they_share_in_the_same_order(tokenizer: str) -> None:
    found = []
    for text in ("zebra ape é Ape a b c d e f", "f e d Apfel c b a é ape zebra"):
        numbering = Growing(spec_of(tokenizer).tokenizer.unit)
        Reader(spec_of(tokenizer), numbering).read(memoryview(text.encode()))
        tokens, keys, _ = numbering.settle()
        assert tokens[:3] == [b"<unk>", b"<s>", b"</s>"]
        assert keys.tolist() == [digest(token) for token in tokens]
        found.append(tokens)
    assert [t for t in found[0] if t in found[1]] == [t for t in found[1] if t in found[0]]


@given(st.binary(min_size=1, max_size=200))
def test_a_digest_is_the_same_alone_and_in_a_block(token: bytes) -> None:
    data = np.frombuffer(b"xx" + token + bytes(PADDING), np.uint8)
    assert digests(data, np.array([2]), np.array([len(token)])).tolist() == [digest(token)]


def test_a_word_is_found_by_its_beginning() -> None:
    words = [b"ape", b"app", b"apple", "äpfel".encode(), b"b", b"\xff\xff"]
    vocabulary = Vocabulary.of(words)
    for prefix in (b"a", b"ap", b"app", b"apple", b"apples", b"c", b"\xff", b"", b"<"):
        found = vocabulary.beginning(prefix)
        assert [vocabulary.token(number) for number in found] == [word for word in words if word.startswith(prefix)]


def test_reserved_words_are_mapped_and_counted() -> None:
    numbering = Growing("word")
    stream = Reader(spec_of(), numbering).read(memoryview(b"<s> a <unk> b </s> </s>\n"))
    assert numbering.reserved.tolist() == [1, 1, 2]
    assert stream.tolist() == [3, 0, 4, END]


def test_long_words_are_told_apart_to_the_last_byte() -> None:
    words = [b"x" * n + end for n in (7, 8, 9, 15, 16, 63, 64, 65, 300) for end in (b"a", b"b")]
    assert len({digest(word) for word in words}) == len(words)
    assert [token for token in read(spec_of(), b" ".join(words)) if token] == words


lines = st.lists(
    st.lists(st.sampled_from(["a", "Bc", "é", "秦川", "don't", ",", "(x)", "longer-than-eight", "<unk>"]), max_size=6),
    max_size=12,
)
blanks = st.sampled_from([" ", "  ", "\t", " \r"])


@settings(max_examples=60, deadline=None)
@given(lines, blanks, st.sampled_from(TOKENIZERS), st.sampled_from(SENTENCES), st.integers(1, 40))
def test_blocks_of_any_size_read_the_same(
    words: list[list[str]], blank: str, tokenizer: str, sentences: str, block: int
) -> None:
    text = "\n".join(blank.join(line) for line in words).encode()
    spec = spec_of(tokenizer, sentences=sentences)
    assert read(spec, text, block) == read(spec, text)


@settings(max_examples=60, deadline=None)
@given(lines, blanks, st.sampled_from(TOKENIZERS), st.sampled_from(SENTENCES), st.booleans())
def test_prompts_are_cut_as_texts_are(
    words: list[list[str]], blank: str, tokenizer: str, sentences: str, lowercase: bool
) -> None:
    text = "\n".join(blank.join(line) for line in words)
    if tokenizer in ("character", "byte"):
        text = text.replace("\r", "").replace("\n\n\n", "\n\n")
    spec = spec_of(tokenizer, sentences=sentences, lowercase=lowercase)
    cut = [piece.token for piece in pieces(spec, text) if piece.token != b""]
    if sentences != "line":  # there an empty sentence is none
        cut = [each for each, before in zip(cut, [None, *cut], strict=False) if each is not None or before is not None]
    whole = read(spec, text.encode())
    assert whole in (cut, [*cut, None])  # a text ends its last sentence, a prompt leaves it open


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.sampled_from(TOKENIZERS), st.sampled_from(SENTENCES))
def test_the_pieces_of_a_prompt_make_up_the_prompt(text: str, tokenizer: str, sentences: str) -> None:
    assert "".join(piece.text for piece in pieces(spec_of(tokenizer, sentences=sentences), text)) == text
