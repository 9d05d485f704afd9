"""Training: a text goes in, events come out, the last one is the model."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from service.errors import DataUnusable, TooLarge
from service.ngram.artifact import MAX_VOCABULARY, Packing, pack, tally
from service.ngram.contract import END, RESERVED, START
from service.ngram.counts import Collection, Level, unigrams
from service.ngram.estimate import Chain, Estimate, Kept, Stupid, adjusted
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.numbering import Growing
from service.ngram.plan import peak_bytes
from service.ngram.reader import Reader, Text, blocks
from service.ngram.smoothing import Smoothing, StupidBackoff
from service.ngram.sorting import Sorting
from service.ngram.spec import NgramSpec
from service.ngram.vocabulary import U32, arrays_of
from service.ngram.wrapped import warnings
from service.tensors import Array

_READ, _SORT, _COUNT = 0.25, 0.25, 0.2  # shares of the time, for the progress shown


def train(spec: NgramSpec, text: Text, memory_bytes: int | None = None) -> Iterator[Event]:
    """Counts and smooths; to cancel is to stop pulling.

    Raises DataUnusable when the text holds no token, TooLarge before more than `memory_bytes` would be taken.
    """
    _keep_freed_pages()
    yield from map(Warned, warnings(spec, text))
    numbering = Growing(spec.tokenizer.unit)
    stream = yield from _read(spec, text, numbering)
    tokens, digests, final = numbering.settle()
    stream = final[stream]
    count = len(stream) - 1 - spec.order
    words = int(np.count_nonzero(stream != END))
    if not words:
        raise DataUnusable("the text holds no token")
    if len(tokens) > MAX_VOCABULARY:
        raise TooLarge(f"the text has {len(tokens)} different tokens, {MAX_VOCABULARY} is the most a model holds")
    yield from _reserved_words(numbering)
    allowed = None if memory_bytes is None else memory_bytes - len(memoryview(text))
    orders = _Orders(spec, len(tokens), allowed)
    levels = yield from orders.count(stream)
    del stream
    yield from orders.smooth(levels)
    facts = {"tokens": words, "sentences": count - words, "discounts": orders.discounts()}
    arrays, metadata = pack(spec, arrays_of(tokens, digests), orders.arrays, facts)
    yield Trained(arrays, metadata, words, count - words, len(tokens), tuple(orders.sizes))


def _keep_freed_pages() -> None:
    """Has glibc keep small freed arrays for the next ones: asking the kernel again costs a fifth of the time.

    Freeing one block of this size lifts its limits for that (mallopt(3), M_MMAP_THRESHOLD); they are never touched.
    """
    np.empty(31 << 20, np.uint8)


def _read(spec: NgramSpec, text: Text, numbering: Growing) -> Generator[Event, None, U32]:
    """Yields progress, returns the stream in provisional numbers, with `order` more ENDs behind it."""
    reader, size, done = Reader(spec, numbering), max(len(memoryview(text)), 1), 0
    stream, count = np.full(1, END, np.uint32), 1
    for block in blocks(text):
        part = reader.read(block)
        if count + len(part) > len(stream):  # in place: many small arrays would leave holes where no large one fits
            stream.resize(max(count + len(part), len(stream) * 9 // 8), refcheck=False)
        stream[count : count + len(part)] = part
        count += len(part)
        done += len(block)
        yield Progressed("reading", _READ * done / size)
    return np.concatenate([stream[:count], reader.close(), np.full(spec.order, END, np.uint32)])


def _reserved_words(numbering: Growing) -> Iterator[Warned]:
    for token, count in zip(RESERVED, numbering.reserved.tolist(), strict=True):
        if count:
            taken = "counted as the unknown word" if token == RESERVED[0] else "read as a blank"
            yield Warned(f"the text holds the reserved word {token.decode()} {count} times; it was {taken}")


class _Orders:
    """Builds the orders of a model one after the other."""

    def __init__(self, spec: NgramSpec, vocabulary: int, memory_bytes: int | None) -> None:
        self.spec, self.vocabulary, self.memory_bytes = spec, vocabulary, memory_bytes
        self.estimator = _estimator(spec.smoothing, vocabulary)
        self.arrays: dict[str, Array] = {}
        self.sizes: list[int] = []
        self.order = 0
        self.kept: Kept = None

    def count(self, stream: U32) -> Generator[Event, None, list[Level]]:
        """Yields progress, returns the n-grams of all orders."""
        levels = [unigrams(stream[1 : -self.spec.order], self.vocabulary)]
        if self.spec.order > 1:
            self._check_memory(len(stream), [])
            sorting = Sorting(stream, self.spec.order, self.vocabulary)
            for fraction in sorting.work():
                yield Progressed("sorting", _READ + _SORT * fraction)
            collection = Collection(sorting, self.vocabulary)
            del sorting
            self._check_memory(len(stream), collection.measure())
            for fraction in collection.work():
                yield Progressed("counting", _READ + _SORT + _COUNT * fraction)
            levels += collection.levels
        return levels

    def smooth(self, levels: list[Level]) -> Iterator[Event]:
        """Empties `levels`; yields progress and warnings. Afterwards `arrays` holds all orders."""
        while levels:
            share = (1 - _READ - _SORT - _COUNT) / self.spec.order
            for fraction in self._add(levels[0], levels[1] if levels[1:] else None):
                yield Progressed("smoothing", 1 - share * (len(levels) - fraction))
            del levels[0]
        yield from self._fallbacks()

    def _check_memory(self, tokens: int, ngrams: Sequence[int]) -> None:
        """Before what is sorted or counted next is allocated."""
        needed = peak_bytes(self.spec, tokens, self.vocabulary, 0, ngrams)
        if self.memory_bytes is not None and needed > self.memory_bytes:
            raise TooLarge(
                f"counting {tokens} tokens needs {needed >> 20} MiB of memory, {self.memory_bytes >> 20} are left",
                hint="Choose a lower order, or train on less text.",
            )

    def _add(self, level: Level, above: Level | None) -> Iterator[float]:
        self.order += 1
        threshold = self.spec.thresholds()[self.order - 1]
        kept = level.counts > threshold if threshold else None
        estimates = self.estimator.order(level, adjusted(level, above, self.spec.smoothing.counts_left), kept)
        if self.order == 1:
            log10 = np.concatenate([log10 for _, log10, _ in estimates])
            log10[START] = 0.0
            self.arrays["1.log10"] = log10.astype(np.float32)
        else:
            yield from self._pack(level, estimates, kept)
        counts = level.counts if kept is None else level.counts[kept]
        self.arrays |= {f"{self.order}.{name}": array for name, array in tally(counts).items()}
        self.sizes.append(len(counts))
        self.kept = kept

    def _pack(self, level: Level, estimates: Iterator[Estimate], kept: Kept) -> Iterator[float]:
        ngrams = len(level.words) if kept is None else int(np.count_nonzero(kept))
        packing = Packing(ngrams, self.sizes[-1], self.vocabulary)
        for block, log10, gammas in estimates:
            words, types = level.words[block.ngrams], block.types()
            if kept is not None:
                here = kept[block.ngrams]
                words, log10, types = words[here], log10[here], block.sums(here).astype(np.int64)
            if self.kept is not None:
                here = self.kept[block.contexts]
                types, gammas = types[here], gammas[here]
            packing.add(words, np.minimum(log10, 0), types, np.where(types > 0, gammas, 0))
            yield block.ngrams.stop / max(len(level.words), 1)
        self.arrays[f"{self.order - 1}.contexts"] = packing.contexts
        self.arrays[f"{self.order}.grams"] = packing.grams

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
