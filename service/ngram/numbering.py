"""The two numberings of a reader: a growing one that learns the vocabulary, and a fixed one that only looks up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import END, RESERVED, START, UNKNOWN
from service.ngram.reader import SKIPPED
from service.ngram.tokenizers import Unit
from service.ngram.vocabulary import U32, U64, Table, Vocabulary, arranged, digest, digests, inverse

CODE_POINTS = 0x110000
_RESERVED_DIGESTS = np.array([digest(token) for token in RESERVED], np.uint64)


class Growing:
    """Numbers tokens in the order they appear; `settle` then gives them their places."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.tokens = list(RESERVED)
        self.digests = [_RESERVED_DIGESTS]
        self.table = Table.sized(1 << 15)
        self.table.insert(_RESERVED_DIGESTS, np.arange(3, dtype=np.uint32))
        self.reserved = np.zeros(3, np.int64)
        self.seen = np.zeros(CODE_POINTS if unit == "character" else 256, bool)

    def words(self, data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> U32:
        """Numbers of words; new ones are entered. <unk> is UNKNOWN, <s> and </s> are SKIPPED, all three counted."""
        keys = digests(data, starts, sizes)
        slots, present = self.table.slots(keys)
        fresh = np.flatnonzero(~present)
        if len(fresh):
            _, first = np.unique(keys[fresh], return_index=True)
            first = np.sort(fresh[first])
            self._enter(
                keys[first], [data[s : s + n].tobytes() for s, n in zip(starts[first], sizes[first], strict=True)]
            )
            slots, _ = self.table.slots(keys)
        numbers = self.table.ids[slots]
        if numbers.size and numbers.min() <= END:
            self.reserved += np.bincount(numbers[numbers <= END], minlength=3)
            numbers[(numbers == START) | (numbers == END)] = SKIPPED
        return numbers

    def units(self, values: U32) -> U32:
        """Characters and bytes keep their own number, past the reserved ones, until they are settled."""
        self.seen[values] = True
        return values + np.uint32(len(RESERVED))

    def _enter(self, keys: U64, tokens: Sequence[bytes]) -> None:
        numbers = np.arange(len(self.tokens), len(self.tokens) + len(keys), dtype=np.uint32)
        self.tokens += tokens
        self.digests.append(keys)
        if 2 * len(self.tokens) > len(self.table.keys):
            self.table = Table.sized(2 * len(self.tokens))
            self.table.insert(np.concatenate(self.digests), np.arange(len(self.tokens), dtype=np.uint32))
        else:
            self.table.insert(keys, numbers)

    def settle(self) -> tuple[list[bytes], U64, U32]:
        """All tokens in order, their digests, and the final number of each provisional one."""
        if self.unit != "word":
            return self._settled_units()
        keys = np.concatenate(self.digests)
        order = arranged(keys)
        return [self.tokens[at] for at in order.tolist()], keys[order], inverse(order)

    def _settled_units(self) -> tuple[list[bytes], U64, U32]:
        units = np.flatnonzero(self.seen)
        seen = [bytes([unit]) if self.unit == "byte" else chr(unit).encode() for unit in units.tolist()]
        tokens = [*RESERVED, *seen]
        keys = np.array([digest(token) for token in tokens], np.uint64)
        order = arranged(keys)
        final = np.arange(len(self.seen) + len(RESERVED), dtype=np.uint32)
        final[units + len(RESERVED)] = inverse(order)[len(RESERVED) :]
        return [tokens[at] for at in order.tolist()], keys[order], final


class Fixed:
    """Looks tokens up in a finished vocabulary; others are UNKNOWN."""

    def __init__(self, vocabulary: Vocabulary, unit: Unit) -> None:
        self.vocabulary = vocabulary
        self._by_unit: U32 = np.zeros(0, np.uint32)
        if unit != "word":
            self._by_unit = np.full(CODE_POINTS if unit == "character" else 256, UNKNOWN, np.uint32)
            for number in range(len(RESERVED), len(vocabulary)):
                token = vocabulary.token(number)
                self._by_unit[ord(token.decode()) if unit == "character" else token[0]] = number

    def words(self, data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> U32:
        numbers = self.vocabulary.table.find(digests(data, starts, sizes))
        if numbers.size and numbers.min() <= END:
            numbers[(numbers == START) | (numbers == END)] = SKIPPED
        return numbers

    def units(self, values: U32) -> U32:
        return self._by_unit[values]
