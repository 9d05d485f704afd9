"""What an n-gram model may be: its order, its tokens, its smoothing, and what is left out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from service.ngram.contract import Spec
from service.ngram.smoothing import ModifiedKneserNey, Smoothing
from service.ngram.tokenizers import Tokenizer, Word

MAX_ORDER = 10
Threshold = Annotated[int, Field(ge=0, le=1_000_000_000)]
_SENTENCES = (
    "Where a sentence ends: at each line, at blank lines, or only at the end of the text. A line break inside one"
    " is a blank for words, and a token for characters and bytes."
)
_PRUNE = (
    "One threshold per order, as lmplz --prune: n-grams seen that often or less are left out. The last one goes for all"
    " higher orders; single words are never left out, so the first is 0."
)


class Reading(Spec):
    """How a text is cut into sentences and tokens."""

    tokenizer: Tokenizer = Word()
    lowercase: bool = False
    normalize: Literal["none", "nfc", "nfkc"] = "none"
    sentences: Annotated[Literal["line", "paragraph", "document"], Field(description=_SENTENCES)] = "line"
    blank_lines: Literal["keep", "skip"] = "keep"


class NgramSpec(Reading):
    """An n-gram language model."""

    order: Annotated[int, Field(ge=1, le=MAX_ORDER)] = 3
    smoothing: Smoothing = ModifiedKneserNey()
    prune: Annotated[list[Threshold], Field(max_length=MAX_ORDER, description=_PRUNE)] = []

    @field_validator("prune")
    @classmethod
    def _rising(cls, prune: list[int]) -> list[int]:
        if prune and prune[0] != 0:
            raise ValueError("the first threshold must be 0: single words are never pruned")
        if prune != sorted(prune):
            raise ValueError("thresholds must not fall from one order to the next")
        return prune

    @model_validator(mode="after")
    def _as_many_as_orders(self) -> NgramSpec:
        if len(self.prune) > self.order:
            raise ValueError("prune holds more thresholds than there are orders")
        return self

    def thresholds(self) -> list[int]:
        """One pruning threshold per order."""
        given = self.prune or [0]
        return given + given[-1:] * (self.order - len(given))
