"""A whole text token by token: how probable each was, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from service.ngram.contract import END, START, UNKNOWN
from service.ngram.explanation import Explanation
from service.ngram.generate import SENTENCE_END
from service.ngram.language import LanguageModel
from service.ngram.prompt import pieces

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Traced:
    """One token. `text` is what stands in the text, blanks before it included; a sentence's end is </s>."""

    text: str
    offset: int
    log10_prob: float
    oov: bool
    explanation: Explanation | None


def trace(model: LanguageModel[S], text: str, explain: bool = False) -> Iterator[Traced]:
    """Every token that `score` counts, in order."""
    state, history, offset, open_ = model.start(), [START], 0, False
    skipping = model.spec.blank_lines == "skip" or model.spec.sentences != "line"
    for shown, word in _words(model, text):
        if word is not None and (word != END or open_ or not skipping):
            yield _traced(model, (state, history), shown, offset, word, explain)
            state, open_ = model.advance(state, word), word != END
            history = [START] if word == END else [*history[-model.spec.order :], word]
        offset += len(shown)
    if open_ and model.ends:
        yield _traced(model, (state, history), "", offset, END, explain)


def _words(model: LanguageModel[S], text: str) -> Iterator[tuple[str, int | None]]:
    for piece in pieces(model.spec, text):
        word = END if piece.token is None else model.vocabulary.id(piece.token)
        yield piece.text, None if piece.token == b"" or word == START else word


def _traced(
    model: LanguageModel[S], where: tuple[S, list[int]], shown: str, offset: int, word: int, explain: bool
) -> Traced:
    state, history = where
    why = model.explain(state, history, word) if explain else None
    name = SENTENCE_END if word == END else shown
    return Traced(name, offset, model.log10(state, word), word == UNKNOWN, why)
