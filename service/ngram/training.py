"""Training: a text goes in, events come out, the last one is the model."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from service.errors import DataUnusable, TooLarge
from service.ngram.artifact import Packed, Tally, pack
from service.ngram.contract import END, RESERVED, START
from service.ngram.counts import Collection, Level, unigrams
from service.ngram.estimate import Chain, Estimates, Kept, Stupid, adjusted
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.numbering import Growing
from service.ngram.plan import peak_bytes
from service.ngram.reader import Reader, Text, blocks
from service.ngram.smoothing import Smoothing, StupidBackoff
from service.ngram.sorting import Sorting
from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import U32, arrays_of

_READ, _SORT, _COUNT = 0.25, 0.25, 0.2  # shares of the time, for the progress shown


def train(spec: NgramSpec, text: Text, memory_bytes: int | None = None) -> Iterator[Event]:
    """Counts and smooths; to cancel is to stop pulling.

    Raises DataUnusable when the text holds no token, TooLarge when the counting would need more than `memory_bytes`.
    """
    _keep_freed_pages()
    numbering = Growing(spec.tokenizer.unit)
    stream = yield from _read(spec, text, numbering)
    tokens, digests, final = numbering.settle()
    stream = final[stream]
    count = len(stream) - 1 - spec.order
    words = int(np.count_nonzero(stream != END))
    if not words:
        raise DataUnusable("the text holds no token")
    _check_memory(peak_bytes(spec, count, len(tokens), len(memoryview(text))), memory_bytes)
    yield from _reserved_words(numbering)
    orders = _Orders(spec, len(tokens))
    yield from orders.build(stream)
    facts = {"tokens": words, "sentences": count - words, "discounts": orders.discounts()}
    arrays, metadata = pack(spec, arrays_of(tokens, digests), orders.packed, facts)
    ngrams = tuple(len(order.words) for order in orders.packed)
    yield Trained(arrays, metadata, words, count - words, len(tokens), ngrams)


def _keep_freed_pages() -> None:
    """Has glibc keep small freed arrays for the next ones: asking the kernel again costs a fifth of the time.

    Freeing one block of this size lifts its limits for that (mallopt(3), M_MMAP_THRESHOLD); they are never touched.
    """
    np.empty(31 << 20, np.uint8)


def _read(spec: NgramSpec, text: Text, numbering: Growing) -> Generator[Event, None, U32]:
    """Yields progress, returns the stream in provisional numbers, with `order` more ENDs behind it."""
    reader, size, done = Reader(spec, numbering), max(len(memoryview(text)), 1), 0
    parts = [np.full(1, END, np.uint32)]
    for block in blocks(text):
        parts.append(reader.read(block))
        done += len(block)
        yield Progressed("reading", _READ * done / size)
    return np.concatenate([*parts, reader.close(), np.full(spec.order, END, np.uint32)])


def _check_memory(needed: int, allowed: int | None) -> None:
    if allowed is not None and needed > allowed:
        raise TooLarge(
            f"counting this text needs about {needed >> 20} MiB of memory, {allowed >> 20} MiB are allowed",
            hint="Choose a lower order, or train on less text.",
        )


def _reserved_words(numbering: Growing) -> Iterator[Warned]:
    for token, count in zip(RESERVED, numbering.reserved.tolist(), strict=True):
        if count:
            taken = "counted as the unknown word" if token == RESERVED[0] else "read as a blank"
            yield Warned(f"the text holds the reserved word {token.decode()} {count} times; it was {taken}")


class _Orders:
    """Builds the orders of a model one after the other."""

    def __init__(self, spec: NgramSpec, vocabulary: int) -> None:
        self.spec, self.vocabulary = spec, vocabulary
        self.estimator = _estimator(spec.smoothing, vocabulary)
        self.packed: list[Packed] = []

    def build(self, stream: U32) -> Iterator[Event]:
        """Yields progress and warnings; afterwards `packed` holds all orders."""
        levels = [unigrams(stream[1 : -self.spec.order], self.vocabulary)]
        if self.spec.order > 1:
            sorting = Sorting(stream, self.spec.order, self.vocabulary)
            for fraction in sorting.work():
                yield Progressed("sorting", _READ + _SORT * fraction)
            collection = Collection(sorting, self.vocabulary)
            del sorting
            for fraction in collection.work():
                yield Progressed("counting", _READ + _SORT + _COUNT * fraction)
            levels += collection.levels
            del collection
        while levels:
            self._add(levels[0], levels[1] if levels[1:] else None)
            del levels[0]
            yield Progressed("smoothing", 1 - (1 - _READ - _SORT - _COUNT) * len(levels) / self.spec.order)
        yield from self._fallbacks()

    def _add(self, level: Level, above: Level | None) -> None:
        threshold = self.spec.thresholds()[len(self.packed)]
        kept = level.counts > threshold if threshold else None
        counts = adjusted(level, above, self.spec.smoothing.counts_left)
        estimates = self.estimator.order(level, counts, kept)
        if self.packed:
            self._close(level, estimates, kept)
        else:
            estimates.log10[START] = 0.0
        np.minimum(estimates.log10, 0, out=estimates.log10)
        self.packed.append(_packed(level, estimates, kept))
        self.kept = kept

    def _close(self, level: Level, estimates: Estimates, kept: Kept) -> None:
        """Gives the order below its backoffs and the places of its continuations."""
        below, gammas, first = self.packed[-1], estimates.gammas, level.first
        if kept is not None:
            passed = np.append(np.uint32(0), np.cumsum(kept, dtype=np.uint32))
            first = passed[first]
            gammas = np.where(first[1:] > first[:-1], gammas, np.float32(0))
        if self.kept is not None:
            gammas = gammas[self.kept]
            first = np.append(first[:-1][self.kept], first[-1])
        below.first, below.backoff = first, gammas

    def _fallbacks(self) -> Iterator[Warned]:
        for order, taken in enumerate(self.estimator.taken, 1):
            if taken.fallback:
                values = f"{taken.one}, {taken.two}, {taken.three}"
                yield Warned(f"the text gives no discounts for order {order}; {values} were taken instead")

    def discounts(self) -> list[list[float]]:
        """Of each order, for counts of 1, 2, and 3 or more; empty where the smoothing has none."""
        return [[taken.one, taken.two, taken.three] for taken in self.estimator.taken]


def _estimator(smoothing: Smoothing, vocabulary: int) -> Chain | Stupid:
    return Stupid(smoothing, vocabulary) if isinstance(smoothing, StupidBackoff) else Chain(smoothing, vocabulary)


def _packed(level: Level, estimates: Estimates, kept: Kept) -> Packed:
    if kept is None:
        return Packed(level.words, estimates.log10, Tally.of(level.counts))
    return Packed(level.words[kept], estimates.log10[kept], Tally.of(level.counts[kept]))
