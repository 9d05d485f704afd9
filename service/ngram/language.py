"""What every language model of this room can do, once it says what may come next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from service.ngram.contract import END, START
from service.ngram.distribution import Distribution
from service.ngram.explanation import Explanation
from service.ngram.generate import DEFAULT, Finished, Generated, Options, generate
from service.ngram.prompt import pieces
from service.ngram.reader import Text, normalised
from service.ngram.score import NOTHING, Score, TokenScores
from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import Vocabulary

S = TypeVar("S")


@dataclass(frozen=True)
class Suggestion:
    """A word that may come next."""

    text: str
    probability: float


class LanguageModel(ABC, Generic[S]):
    """`S` is what it remembers of the text so far."""

    spec: NgramSpec
    vocabulary: Vocabulary
    ends: ClassVar[bool] = True
    """Whether a text's end is expected, as a word is."""

    @abstractmethod
    def start(self) -> S:
        """The state at the beginning of a text, which begins a sentence."""

    @abstractmethod
    def advance(self, state: S, word: int) -> S:
        """The state after one more word; a sentence's end leads to the start of the next."""

    @abstractmethod
    def distribution(self, state: S) -> Distribution:
        """Of the next word."""

    @abstractmethod
    def score(self, text: str | Text) -> Score:
        """The probability of a whole text, each sentence from its start to its end."""

    def after(self, words: Sequence[int]) -> S:
        """The state after these words from the beginning."""
        state = self.start()
        for word in words:
            state = self.advance(state, word)
        return state

    def explain(self, state: S, history: Sequence[int], word: int) -> Explanation | None:
        """Why `word` has its probability after the words of `history`; None: this model cannot tell."""
        return None

    def log10(self, state: S, word: int) -> float:
        """log10 p(word | state)."""
        return self.distribution(state).log10(word)

    def suggest(self, context: str, prefix: str = "", count: int = 10) -> list[Suggestion]:
        """The most probable next words after `context`, of those that begin with `prefix`."""
        distribution, vocabulary = self.distribution(self.state_after(context)), self.vocabulary
        if prefix:
            best = distribution.best(
                count, vocabulary.beginning(normalised(self.spec, prefix).encode("utf-8", "replace"))
            )
        else:
            best = [each for each in distribution.best(count + 1) if each[0] != END][:count]
        return [Suggestion(vocabulary.token(word).decode("utf-8", "replace"), 10.0**log) for word, log in best]

    def complete(self, prompt: str, options: Options = DEFAULT) -> Iterator[Generated | Finished]:
        """Continues a text, token by token; see `Options`."""
        return generate(self, prompt, options)

    def words(self, text: str) -> Iterator[int]:
        """The ids of a short text's tokens; END where a sentence ends."""
        for piece in pieces(self.spec, text):
            word = END if piece.token is None else self.vocabulary.id(piece.token)
            if piece.token != b"" and word != START:
                yield word

    def state_after(self, text: str) -> S:
        """The state after a text."""
        return self.after(list(self.words(text)))


class Static(LanguageModel[S]):
    """A language model of n-grams that stays as it is, whatever it reads: many tokens can be scored at once."""

    facts: dict[str, Any]

    @abstractmethod
    def token_scores(self, text: str | Text) -> Iterator[TokenScores]:
        """Every token of a text, in batches of whole sentences."""

    def score(self, text: str | Text) -> Score:
        """The probability of a whole text, each sentence from its start to its end."""
        return sum((scores.total() for scores in self.token_scores(text)), NOTHING)
