"""What a training will need, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

from service.ngram.reader import Text
from service.ngram.spec import NgramSpec
from service.ngram.wrapped import warnings

_FIXED_BYTES = 64 << 20  # freed arrays kept for the next ones, blocks at work
_SORTED_BYTES = 17  # a position while all are sorted: stream 4, key 8, position 4, shared 1
_POSITION_BYTES = 10  # then: stream 4, position 4, shared 1, room 1; and its nodes
_NGRAM_BYTES = 17  # words, counts, suffixes, firsts; then as much in packed n-grams and contexts, order by order
_WORD_BYTES = 200  # a word as a Python object, its digest, and the table


@dataclass(frozen=True)
class Plan:
    """tokens: estimated, sentence ends included. bytes: peak memory of the training."""

    tokens: int
    bytes: int
    warnings: tuple[str, ...] = ()


def peak_bytes(spec: NgramSpec, tokens: int, vocabulary: int, text_bytes: int, ngrams: int | None = None) -> int:
    """The most a training needs, beside the interpreter; without `ngrams`, as if all that can be different were."""
    columns = max(spec.order - 2, 0)
    nodes = 4 * (columns if columns <= 2 else 4 * -(-columns // 4))
    counting = (_POSITION_BYTES + nodes) * tokens + _NGRAM_BYTES * (
        most(spec, tokens, vocabulary) if ngrams is None else ngrams
    )
    return _FIXED_BYTES + text_bytes + _WORD_BYTES * vocabulary + max(_SORTED_BYTES * tokens, counting)


def most(spec: NgramSpec, tokens: int, vocabulary: int) -> int:
    """How many different n-grams so many tokens can have, all orders together."""
    different, ngrams = 1, 0
    for _ in range(spec.order):
        different = min(different * vocabulary, tokens)
        ngrams += different
    return ngrams


def plan(spec: NgramSpec, text_bytes: int, sample: Text = b"") -> Plan:
    """From the size of the text, and if at hand its beginning, from which the number of tokens is estimated."""
    tokens = int(text_bytes * _density(spec, bytes(sample))) + 1
    return Plan(tokens, peak_bytes(spec, tokens, _vocabulary(spec, tokens), text_bytes), tuple(warnings(spec, sample)))


def _vocabulary(spec: NgramSpec, tokens: int) -> int:
    """At most; words of natural text grow in number as Heaps' law says, 20 n ** 0.6 is generous."""
    most = {"word": int(20 * tokens**0.6), "character": 0x110000, "byte": 256}[spec.tokenizer.unit]
    return 3 + min(most, tokens)


def _density(spec: NgramSpec, sample: bytes) -> float:
    """Tokens a byte."""
    if spec.tokenizer.unit == "byte" or not sample:
        return 1.0 if spec.tokenizer.unit != "word" else 0.5
    if spec.tokenizer.unit == "character":
        return len(sample.decode("utf-8", "replace")) / len(sample)
    factor = 1.3 if spec.tokenizer.kind == "regex" else 1.0
    return min(1.0, (len(sample.split()) * factor + sample.count(b"\n")) / len(sample))
