"""A letter network as a language model: every character is a token, the state goes on from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from service.data import Letters
from service.engine import State
from service.ngram import Dense, LanguageModel, NgramSpec, Score, Vocabulary
from service.tensors import Array

BEFORE = "\n"  # what every text follows: a prompt begins a line
_SPEC = NgramSpec.model_validate({"order": 1, "tokenizer": {"kind": "character"}, "sentences": "document"})
_MARKS = 2  # words have <s> and </s> behind the unknown one, letters have not
_PIECE = 4096  # characters read at once


@dataclass(frozen=True)
class Read:
    """Some text read. p: (vocabulary,) probabilities of the next letter, by id."""

    state: State
    p: Array

    @cached_property
    def distribution(self) -> Dense:
        """Of the next letter, by the word's id."""
        logs = np.full(len(self.p) + _MARKS, -np.inf, np.float32)
        said = _log10(self.p)
        logs[0], logs[1 + _MARKS :] = said[0], said[1:]
        return Dense(logs)


class Steps(Protocol):
    """An engine's `Stream`, as far as it is used here."""

    def start(self) -> State: ...
    def read(self, state: State, x: Array) -> tuple[State, Array]: ...


class LetterModel(LanguageModel[Read]):
    """Safe to use from several threads. A text ends only where `max_tokens` or `stop` end it."""

    ends: ClassVar[bool] = False

    def __init__(self, stream: Steps, letters: Letters) -> None:
        self.spec = _SPEC
        self.vocabulary = Vocabulary.of([each.encode() for each in letters.characters])
        self._stream, self._letters = stream, letters
        self._begin = self._read(stream.start(), letters.encode(BEFORE))

    def start(self) -> Read:
        return self._begin

    def advance(self, state: Read, word: int) -> Read:
        return self._read(state.state, np.array([max(0, word - _MARKS)], np.int32))

    def _read(self, state: State, ids: NDArray[np.int32]) -> Read:
        state, p = self._stream.read(state, ids)
        return Read(state, p[-1])

    def distribution(self, state: Read) -> Dense:
        return state.distribution

    def after(self, words: Sequence[int]) -> Read:
        """Read many letters at a time."""
        ids = np.maximum(np.array(words, np.int32) - _MARKS, 0)
        reading = self._begin
        for at in range(0, len(ids), _PIECE):
            reading = self._read(reading.state, ids[at : at + _PIECE])
        return reading

    def score(self, text: str | bytes | bytearray | memoryview) -> Score:
        """The probability of a text that begins a line; sentences are its lines, tokens all its characters."""
        said = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
        ids, reading, found = self._letters.encode(said), self._begin, [0.0, 0.0]
        for at in range(0, len(ids), _PIECE):
            piece = ids[at : at + _PIECE]
            state, p = self._stream.read(reading.state, piece)
            before = np.concatenate([reading.p[None], p[:-1]])
            logs = _log10(before[np.arange(len(piece)), piece]).astype(np.float64)
            found = [found[0] + float(logs.sum()), found[1] + float(logs[piece == 0].sum())]
            reading = Read(state, p[-1])
        lines = said.count("\n") + (not said.endswith("\n") and bool(said))
        return Score(found[0], found[1], len(ids), int(np.count_nonzero(ids == 0)), lines)


def _log10(p: Array) -> Array:
    """Of probabilities; never minus infinity."""
    return np.asarray(np.log10(np.maximum(p, np.finfo(p.dtype).tiny)))
