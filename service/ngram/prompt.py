"""Cutting a short text into tokens while keeping what it looks like."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from service.ngram.reader import normalised
from service.ngram.spec import NgramSpec
from service.ngram.tokenizers import pattern


@dataclass(frozen=True, slots=True)
class Piece:
    """A token with the text it stands for (blanks before it included); `token` is None where a sentence ends."""

    text: str
    token: bytes | None


def pieces(spec: NgramSpec, text: str) -> Iterator[Piece]:
    """The texts of all pieces make up the whole text; blanks after the last token are a piece of their own, b""."""
    if spec.tokenizer.unit == "byte":
        yield from _bytes(spec, text)
        return
    seen = normalised(spec, text)
    shown = text if len(text) == len(seen) else seen
    at = 0
    for match in pattern(spec.tokenizer, spec.sentences).finditer(seen):
        token = match.group(2)
        yield Piece(shown[at : match.end()], None if token is None else token.encode("utf-8", "replace"))
        at = match.end()
    if at < len(shown):
        yield Piece(shown[at:], b"")


def _bytes(spec: NgramSpec, text: str) -> Iterator[Piece]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for match in pattern(spec.tokenizer, spec.sentences).finditer(normalised(spec, text)):
        if match.group(1) is not None:
            yield Piece(match.group(1), None)
            continue
        for byte in match.group().encode("utf-8", "replace"):
            yield Piece(decoder.decode(bytes([byte])), bytes([byte]))
