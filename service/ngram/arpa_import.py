"""ARPA files into a model: read line by line, kept as numbers, then built order by order."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from service.errors import InvalidData
from service.ngram.arpa import read_token
from service.ngram.artifact import pack
from service.ngram.assembly import Rows, assemble, close_suffixes
from service.ngram.contract import RESERVED, START
from service.ngram.events import Event, Progressed, Trained, Warned
from service.ngram.spec import MAX_ORDER, NgramSpec, Reading
from service.ngram.vocabulary import U32, arranged, arrays_of, digest, inverse
from service.tensors import Array

_NEVER = -100.0  # log10 p of a reserved word a file does not name, as KenLM takes it
_EVERY = 1 << 16


@dataclass
class _Lines:
    """The lines of a file with their numbers, and what an order's lines hold."""

    lines: Iterator[bytes]
    number: int = 0
    words: array[int] = field(default_factory=lambda: array("I"))
    logs: array[float] = field(default_factory=lambda: array("f"))
    weights: array[float] = field(default_factory=lambda: array("f"))

    def next(self, awaited: str = "\\end\\") -> bytes:
        """The next line without its end. Raises InvalidData at the end of the file, where it should not be yet."""
        for line in self.lines:
            self.number += 1
            return line.rstrip(b"\r\n")
        raise InvalidData(f"the ARPA file ends too early: {awaited} is missing")

    def wrong(self, what: str) -> InvalidData:
        return InvalidData(f"line {self.number} of the ARPA file: {what}")


def import_arpa(lines: Iterable[bytes], reading: Reading = Reading()) -> Iterator[Event]:  # noqa: B008
    """Reads a file's lines; the last event is the model, which reads texts as is said. Raises InvalidData."""
    source = _Lines(iter(lines))
    sizes = _sizes(source)
    spec = NgramSpec(order=len(sizes), **{name: getattr(reading, name) for name in Reading.model_fields})
    numbers: dict[bytes, int] = {}
    orders: list[Rows] = []
    for order, size in enumerate(sizes, 1):
        yield from _read_order(source, order, size, numbers, spec)
        orders.append(_taken(source, order))
        yield Progressed("reading", 0.6 * sum(sizes[:order]) / sum(sizes))
    if _next_filled(source) != b"\\end\\":
        raise source.wrong("expected '\\end\\'")
    vocabulary, final, added = _vocabulary(numbers, orders[0])
    if added:
        yield Warned(f"the file names no {', '.join(added)}; log10 p = {_NEVER:g} was taken")
    for each in orders[1:]:
        each.ids = final[each.ids]
    close_suffixes(orders)
    arrays, counts = yield from assemble(orders)
    packed, metadata = pack(spec, vocabulary, arrays, {"imported": True})
    yield Trained(packed, metadata, 0, 0, len(final), tuple(counts))


def _sizes(source: _Lines) -> list[int]:
    """How many n-grams of each order the header says there are."""
    while (line := source.next("\\data\\")) != b"\\data\\":
        if source.number > 1000:
            raise source.wrong("no \\data\\ so far")
    sizes: list[int] = []
    while line := source.next():
        order, _, size = line.removeprefix(b"ngram ").partition(b"=")
        if not (line.startswith(b"ngram ") and order.strip() == b"%d" % (len(sizes) + 1) and size.strip().isdigit()):
            raise source.wrong(f"expected 'ngram {len(sizes) + 1}=<number>'")
        sizes.append(int(size))
    if not 1 <= len(sizes) <= MAX_ORDER:
        raise source.wrong(f"orders from 1 to {MAX_ORDER} are known, the file has {len(sizes)}")
    return sizes


def _next_filled(source: _Lines) -> bytes:
    while not (line := source.next()):
        pass
    return line


def _read_order(
    source: _Lines, order: int, size: int, numbers: dict[bytes, int], spec: NgramSpec
) -> Iterator[Progressed]:
    """Reads an order's lines into `source`; unigrams are numbered as they come."""
    if _next_filled(source) != b"\\%d-grams:" % order:
        raise source.wrong(f"expected '\\{order}-grams:'")
    for count in range(size):
        fields = source.next().replace(b"\t", b" ").split(b" ")
        if len(fields) not in (order + 1, order + 2):
            raise source.wrong(f"expected log10 p, {order} words and perhaps a backoff")
        if order == 1 and numbers.setdefault(read_token(spec.tokenizer.unit, fields[1]), count) != count:
            raise source.wrong("this word stood here before")
        _read_line(source, order, fields, numbers, spec)
        if not count % _EVERY:
            yield Progressed("reading", 0.6 * count / size)


def _read_line(source: _Lines, order: int, fields: list[bytes], numbers: dict[bytes, int], spec: NgramSpec) -> None:
    try:
        source.logs.append(float(fields[0]))
        source.weights.append(float(fields[order + 1]) if len(fields) > order + 1 else 0.0)
        for word in fields[1 : order + 1]:
            source.words.append(numbers[read_token(spec.tokenizer.unit, word)])
    except ValueError:
        raise source.wrong("log10 p or backoff is not a number") from None
    except KeyError:
        raise source.wrong("a word that is not among the 1-grams") from None


def _taken(source: _Lines, order: int) -> Rows:
    ids = np.array(source.words, np.uint32).reshape(-1, order)
    taken = Rows(ids, np.array(source.logs, np.float32), np.array(source.weights, np.float32))
    if (taken.log10 > 0).any():
        raise source.wrong(f"a log10 p among the {order}-grams above is more than 0")
    if not (np.isfinite(taken.log10) | np.isneginf(taken.log10)).all() or not np.isfinite(taken.backoff).all():
        raise source.wrong(f"a value among the {order}-grams above is not finite")
    source.words, source.logs, source.weights = array("I"), array("f"), array("f")
    return taken


def _vocabulary(numbers: dict[bytes, int], order: Rows) -> tuple[dict[str, Array], U32, list[str]]:
    """The vocabulary's arrays, the id of each number in the file, and the reserved words it lacks."""
    lacking = [token for token in RESERVED if token not in numbers]
    for token in lacking:
        numbers[token] = len(numbers)
    fill = np.full(len(lacking), _NEVER, np.float32)
    named = [*RESERVED, *(token for token in numbers if token not in RESERVED)]
    keys = np.array([digest(token) for token in named], np.uint64)
    places = arranged(keys)
    tokens = [named[at] for at in places.tolist()]
    old = np.array([numbers[token] for token in tokens])
    order.log10 = np.concatenate([order.log10, fill])[old]
    order.backoff = np.concatenate([order.backoff, fill * 0])[old]
    order.log10[START] = 0.0
    vocabulary = arrays_of(tokens, keys[places])
    return vocabulary, inverse(old), [token.decode() for token in lacking]
