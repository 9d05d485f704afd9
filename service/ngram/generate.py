"""Completions: a prompt is read, then one token after another is drawn until an end is reached.

The end of a sentence ends a completion (finish reason "stop"); it is not part of the text. With `ignore_end` it shows
as a line feed instead and the text goes on with a new sentence.
"""

from __future__ import annotations

import codecs
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

from service.ngram.contract import END, START
from service.ngram.distribution import LN10, Distribution, Sampling
from service.ngram.explanation import Explanation
from service.ngram.prompt import pieces
from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import Vocabulary

S = TypeVar("S")


@dataclass(frozen=True)
class Options:
    """Of a completion. `logprobs`: how many alternatives to tell per token, None for no log-probabilities at all.

    `explain`: every token carries its Explanation, where the model can tell. One seed, one text.
    """

    max_tokens: int = 16
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None
    stop: Sequence[str] = ()
    logprobs: int | None = None
    echo: bool = False
    ignore_end: bool = False
    explain: bool = False


DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Generated:
    """A token of the answer. logprob: natural logarithm under the model itself (temperature 1); top: the most probable
    tokens in its place. offset: where its text begins, in characters. prompt: it was given, not drawn."""

    text: str
    offset: int
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    prompt: bool = False
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last thing heard: why it ended, and how many tokens were read and drawn."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class Continued(Protocol[S]):
    """What can be continued: `S` is what it remembers of the text so far."""

    spec: NgramSpec
    vocabulary: Vocabulary

    def start(self) -> S: ...
    def advance(self, state: S, word: int) -> S: ...
    def distribution(self, state: S) -> Distribution: ...
    def explain(self, state: S, history: Sequence[int], word: int) -> Explanation | None: ...


def generate(model: Continued[S], prompt: str, options: Options) -> Iterator[Generated | Finished]:
    """Reads the prompt and draws tokens; the empty prompt starts a sentence."""
    run = _Run(model, options)
    yield from run.read(prompt)
    yield from run.until_stop([stop for stop in options.stop if stop])


class _Run(Generic[S]):
    def __init__(self, model: Continued[S], options: Options) -> None:
        self.model, self.options = model, options
        self.state = model.start()
        self.history = [START]
        self.text_end, self.offset = "", 0
        self.prompt_tokens = self.drawn = 0

    def read(self, prompt: str) -> Iterator[Generated]:
        """Takes the prompt in; with `echo` tells its tokens."""
        model, echo = self.model, self.options.echo
        for piece in pieces(model.spec, prompt):
            word = END if piece.token is None else model.vocabulary.id(piece.token)
            counted = piece.token != b"" and word != START
            if echo:
                yield (
                    self._told(piece.text, word, prompt=True)
                    if counted
                    else Generated(piece.text, self.offset, prompt=True)
                )
                self.offset += len(piece.text)
            if counted:
                self._advance(word)
                self.prompt_tokens += 1
            self.text_end = piece.text[-1:] or self.text_end

    def draw(self) -> Iterator[Generated]:
        """Draws tokens up to the end of the sentence or `max_tokens`."""
        model, options = self.model, self.options
        dice = random.Random(options.seed)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while self.drawn < options.max_tokens:
            distribution = model.distribution(self.state)
            word = distribution.sample(options.sampling, dice)
            if word == END and not options.ignore_end:
                return
            text = "\n" if word == END else self._glued(decoder, model.vocabulary.token(word))
            self.drawn += 1
            yield self._told(text, word, prompt=False)
            self.offset += len(text)
            self.text_end = text[-1:] or self.text_end
            self._advance(word)

    def until_stop(self, stops: Sequence[str]) -> Iterator[Generated | Finished]:
        """Passes drawn tokens on, up to the first stop string; holds back those that may be part of one."""
        held: list[Generated] = []
        for each in self.draw():
            held.append(each)
            text = "".join(token.text for token in held)
            found = [at for stop in stops if (at := text.find(stop)) >= 0]
            if found:
                yield from _cut(held, min(found))
                yield self._finished("stop")
                return
            free = len(text) - _risky(text, stops)
            while held and len(held[0].text) <= free:
                free -= len(held[0].text)
                yield held.pop(0)
        yield from held
        yield self._finished("stop" if self.drawn < self.options.max_tokens else "length")

    def _finished(self, reason: Literal["stop", "length"]) -> Finished:
        return Finished(reason, self.prompt_tokens, self.drawn)

    def _advance(self, word: int) -> None:
        self.state = self.model.advance(self.state, word)
        self.history = [START] if word == END else [*self.history[-self.model.spec.order :], word]

    def _glued(self, decoder: codecs.IncrementalDecoder, token: bytes) -> str:
        if self.model.spec.tokenizer.unit == "byte":
            return decoder.decode(token)
        return self.model.spec.tokenizer.glue(self.text_end, token.decode("utf-8", "replace"))

    def _told(self, text: str, word: int, prompt: bool) -> Generated:
        wanted, explain = self.options.logprobs, self.options.explain
        why = self.model.explain(self.state, self.history, word) if explain else None
        if wanted is None:
            return Generated(text, self.offset, prompt=prompt, explanation=why)
        distribution = self.model.distribution(self.state)
        best = distribution.best(wanted) if wanted else []
        top = tuple((self._shown(other), log10 * LN10) for other, log10 in best)
        return Generated(text, self.offset, distribution.log10(word) * LN10, top, prompt, why)

    def _shown(self, word: int) -> str:
        if word == END:
            return "\n"
        token = self.model.vocabulary.token(word).decode("utf-8", "replace")
        return self.model.spec.tokenizer.glue(self.text_end, token)


def _risky(text: str, stops: Sequence[str]) -> int:
    """How many last characters of the text may be the beginning of a stop string."""
    return max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


def _cut(tokens: Sequence[Generated], length: int) -> Iterator[Generated]:
    """The tokens that make up the first `length` characters, the last one shortened."""
    for token in tokens:
        if length <= 0:
            return
        yield replace(token, text=token.text[:length])
        length -= len(token.text)
