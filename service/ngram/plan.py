"""What a training will need, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.ngram.reader import Text
from service.ngram.smoothing import StupidBackoff
from service.ngram.spec import NgramSpec
from service.ngram.wrapped import warnings

_FIXED_BYTES = 48 << 20  # blocks at work
_HEAP_BYTES = 32 << 20  # smaller arrays leave holes in the heap when they are freed (mallopt(3), M_MMAP_THRESHOLD)
_SORTED_BYTES = 17  # a position while all are sorted: stream 4, key 8, position 4, shared 1
_POSITION_BYTES = 9  # then, while n-grams are collected: stream 4, position 4, shared 1; and its nodes
_COUNTED_BYTES = 12  # an n-gram as it is counted: last word, count, suffix
_FIRST_BYTES = 4  # where the continuations of an n-gram one shorter begin
_GRAM_BYTES = 9  # an n-gram in the model: 8, and its count 1
_CONTEXT_BYTES = 8  # one that is a context, as all but those of the highest order
_SMOOTHED_BYTES = 8  # one of the order that is smoothed: adjusted count, p
_BELOW_BYTES = 4  # one of the order below meanwhile: p
_TALLIED_BYTES = 10  # one of the order that was smoothed, p and its count as it is packed
_PRUNED_BYTES = 5  # with pruning: whether it is kept, its count if so
_STUPID_BYTES = 24  # one of the order below, for stupid backoff: sums of two orders, suffix
_WORD_BYTES = 200  # a word as a Python object, its digest, and the table
_CHARACTERS = 40_000  # more than a text has, be it Chinese


@dataclass(frozen=True)
class Plan:
    """tokens: estimated, sentence ends included. bytes: peak memory of the training."""

    tokens: int
    bytes: int
    warnings: tuple[str, ...] = ()


def peak_bytes(
    spec: NgramSpec, tokens: int, vocabulary: int, text_bytes: int, ngrams: Sequence[int] | None = None
) -> int:
    """The most a training needs, beside the interpreter.

    ngrams: of order 2 and up; without them, as if all that can be different were.
    """
    sizes = [vocabulary, *(most(spec, tokens, vocabulary) if ngrams is None else ngrams)]
    columns = max(spec.order - 2, 0)
    nodes = 4 * (columns if columns <= 2 else 4 * -(-columns // 4))
    collecting = (_POSITION_BYTES + nodes) * tokens + sum(_counted(sizes, 1))
    smoothing = max(_smoothed(spec, sizes, at) for at in range(len(sizes)))
    holes = sum(4 * size for size in sizes[1:] if 4 * size < _HEAP_BYTES)
    fixed = _FIXED_BYTES + text_bytes + _WORD_BYTES * vocabulary
    return fixed + holes + max(_SORTED_BYTES * tokens, collecting, smoothing)


def _counted(sizes: Sequence[int], first: int) -> list[int]:
    """Bytes of the orders from sizes[first] on, as they are counted."""
    return [_COUNTED_BYTES * own + _FIRST_BYTES * below for below, own in pairwise(sizes[max(first, 1) - 1 :])]


def _smoothed(spec: NgramSpec, sizes: Sequence[int], at: int) -> int:
    """Bytes while the order of sizes[at] is smoothed: lower ones are packed, this one both, higher ones counted."""
    own, below = sizes[at], sizes[at - 1] if at else 0
    packed = _GRAM_BYTES * sum(sizes[: at + 1]) + _CONTEXT_BYTES * sum(sizes[:at])
    working = max(_SMOOTHED_BYTES * own + _BELOW_BYTES * below, _TALLIED_BYTES * own)
    working += _PRUNED_BYTES * own if spec.prune else 0
    working += _STUPID_BYTES * below if isinstance(spec.smoothing, StupidBackoff) else 0
    return packed + working + sum(_counted(sizes, at))


def most(spec: NgramSpec, tokens: int, vocabulary: int) -> list[int]:
    """How many different n-grams of order 2 and up so many tokens can have."""
    return [min(vocabulary**order, tokens) for order in range(2, spec.order + 1)]


def plan(spec: NgramSpec, text_bytes: int, sample: Text = b"") -> Plan:
    """From the size of the text, and if at hand its beginning, from which the number of tokens is estimated."""
    tokens = int(text_bytes * _density(spec, bytes(sample))) + 1
    return Plan(tokens, peak_bytes(spec, tokens, _vocabulary(spec, tokens), text_bytes), tuple(warnings(spec, sample)))


def _vocabulary(spec: NgramSpec, tokens: int) -> int:
    """At most; words of natural text grow in number as Heaps' law says, 20 n ** 0.6 is generous."""
    most = {"word": int(20 * tokens**0.6), "character": _CHARACTERS, "byte": 256}[spec.tokenizer.unit]
    return 3 + min(most, tokens)


def _density(spec: NgramSpec, sample: bytes) -> float:
    """Tokens a byte."""
    if spec.tokenizer.unit == "byte" or not sample:
        return 1.0 if spec.tokenizer.unit != "word" else 0.5
    if spec.tokenizer.unit == "character":
        return len(sample.decode("utf-8", "replace")) / len(sample)
    factor = 1.3 if spec.tokenizer.kind == "regex" else 1.0
    return min(1.0, (len(sample.split()) * factor + sample.count(b"\n")) / len(sample))
