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

from service.ngram.contract import END, RESERVED, START
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
SENTENCE_END = RESERVED[END].decode()
"""How the end of a sentence is told among tokens, where the answer ends with it."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A token of the answer. logprob: natural logarithm under the model itself (temperature 1); top: the most probable
    tokens in its place. offset: where its text begins, in characters. prompt: it was given, not drawn. end: it is the
    end of the sentence that ends the answer; it has no text and is told only with logprobs or explanations."""

    text: str
    offset: int
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    prompt: bool = False
    explanation: Explanation | None = None
    end: bool = False


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
    def after(self, words: Sequence[int]) -> S: ...
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
        words: list[int] = []
        for piece in pieces(model.spec, prompt):
            word = END if piece.token is None else model.vocabulary.id(piece.token)
            counted = piece.token != b"" and word != START
            if counted:
                words.append(word)
            if echo:
                blank = Generated(piece.text, self.offset, prompt=True)
                yield self._told(piece.text, word, prompt=True) if counted else blank
                self.offset += len(piece.text)
                if counted:
                    self._advance(word)
            self.text_end = piece.text[-1:] or self.text_end
        self.prompt_tokens = len(words)
        if words and not echo:
            self.state = model.after(words)
            last_end = len(words) - words[::-1].index(END) if END in words else 0
            self.history = [START, *words[last_end:]][-model.spec.order - 1 :]

    def draw(self) -> Iterator[Generated]:
        """Draws tokens up to the end of the sentence or `max_tokens`."""
        model, options = self.model, self.options
        dice = random.Random(options.seed)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while self.drawn < options.max_tokens:
            distribution = model.distribution(self.state)
            word = distribution.sample(options.sampling, dice)
            if word == END and not options.ignore_end:
                if options.logprobs is not None or options.explain:
                    yield replace(self._told("", word, prompt=False), end=True)
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
        top = tuple((self._shown(other, prompt), log10 * LN10) for other, log10 in best)
        return Generated(text, self.offset, distribution.log10(word) * LN10, top, prompt, why)

    def _shown(self, word: int, prompt: bool) -> str:
        if word == END:
            return "\n" if prompt or self.options.ignore_end else SENTENCE_END
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
