"""ARPA files out of a model, streamed: a line an n-gram, log10 values with seven digits, as KenLM and SRILM read them.

Tabs stand between columns and blanks between words, so blanks in tokens of characters and bytes are written <0x20>,
and bytes that are no characters <0xE2>: the file is UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np

from service.errors import Conflict
from service.ngram.contract import RESERVED
from service.ngram.model import Model
from service.ngram.tokenizers import Unit
from service.ngram.trie import Trie

_LINES = 1 << 15  # n-grams written at once
_CODE = re.compile(rb"<0x([0-9A-F]{2})>")


def export_arpa(model: Model) -> Iterator[bytes]:
    """The file, piece by piece. Raises Conflict for add-k, whose unseen words do not follow the shorter context."""
    if model.uniform is not None:
        raise Conflict("a model smoothed by add_k has no ARPA form", hint="Train it with another smoothing.")
    return _pieces(model)


def _pieces(model: Model) -> Iterator[bytes]:
    trie = model.trie
    unit = model.spec.tokenizer.unit
    tokens = [written(unit, model.vocabulary.token(word)) for word in range(len(model.vocabulary))]
    counts = b"".join(b"ngram %d=%d\n" % pair for pair in enumerate(trie.sizes(), 1))
    yield b"\\data\\\n" + counts
    for order, size in enumerate(trie.sizes(), 1):
        yield b"\n\\%d-grams:\n" % order
        for low in range(0, size, _LINES):
            yield _lines(trie, tokens, order, low, min(low + _LINES, size))
    yield b"\n\\end\\\n"


def _lines(trie: Trie, tokens: list[bytes], order: int, low: int, high: int) -> bytes:
    logs = (trie.unigrams[low:high] if order == 1 else trie.logs(order, low, high)).tolist()
    texts = _texts(trie, tokens, order, low, high)
    if order == trie.order:
        return b"".join(b"%.7g\t%b\n" % line for line in zip(logs, texts, strict=True))
    weights = trie.weights(order, low, high).tolist()
    return b"".join(b"%.7g\t%b\t%.7g\n" % line for line in zip(logs, texts, weights, strict=True))


def _texts(trie: Trie, tokens: list[bytes], order: int, low: int, high: int) -> list[bytes]:
    """The words of neighbouring n-grams; each context is put together once for all that continue it."""
    if order == 1:
        return tokens[low:high]
    starts, first, last = trie.parents(order, low, high)
    contexts = _texts(trie, tokens, order - 1, first, last)
    sizes = np.diff(np.clip(starts, low, high)).tolist()
    spread = chain.from_iterable(map(repeat, contexts, sizes))
    words = trie.words(order, low, high).tolist()
    return [b"%b %b" % (context, tokens[word]) for context, word in zip(spread, words, strict=True)]


def written(unit: Unit, token: bytes) -> bytes:
    """A token as it stands in a file."""
    if unit == "word" or token in RESERVED:
        return token
    text = token.decode("utf-8", "ignore")  # nothing, of a byte that is none by itself
    if text.isprintable() and text.strip():
        return token
    return b"".join(b"<0x%02X>" % byte for byte in token)


def read_token(unit: Unit, token: bytes) -> bytes:
    """The token that was written so."""
    return token if unit == "word" else _CODE.sub(lambda code: bytes([int(code.group(1), 16)]), token)
