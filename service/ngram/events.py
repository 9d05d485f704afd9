"""What the caller of `train` hears, in order: progress and warnings, then one `Trained`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.tensors import Array


@dataclass(frozen=True)
class Progressed:
    """`fraction` (0 to 1) of the whole training is done; `phase` is what is being done now."""

    phase: str
    fraction: float


@dataclass(frozen=True)
class Warned:
    """Something the user should know; training goes on."""

    message: str


@dataclass(frozen=True)
class Trained:
    """The model, ready for `service.tensors.write`, and what is worth telling about it.

    tokens: words of the text, without sentence ends. ngrams: kept n-grams by order, first order first.
    """

    arrays: Mapping[str, Array]
    metadata: Mapping[str, str]
    tokens: int
    sentences: int
    vocabulary: int
    ngrams: tuple[int, ...]


Event = Progressed | Warned | Trained
