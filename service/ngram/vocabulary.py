"""Tokens and their numbers: a hash table over arrays, looked up where they lie in the model's file."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.ngram.contract import RESERVED
from service.tensors import Array

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio: multiplicative hashing (Knuth)
_MIX = np.uint64(0xD6E8FEB86659FD93)  # an odd multiplier with good avalanche (Pelle Evensen's rrxmrrxmsx)
_SPLITMIX = (  # Steele, Lea and Flood 2014
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_ALL = (1 << 64) - 1
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_SWIFT_BYTES = 64  # longer tokens are rare and go to blake2b one by one
PADDING = 8


def digests(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> U64:
    """One number per token `data[start : start + length]`: its bytes themselves up to eight, mixed beyond.

    `data` must go on for PADDING bytes after the last token. Two long tokens share a number with odds of 2^-64.
    """
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    found: U64 = words[starts] & _MASKS[np.minimum(lengths, 8)]
    long = np.flatnonzero(lengths > 8)
    for at in range(8, _SWIFT_BYTES, 8):
        rest = lengths[long] - at
        long = long[rest > 0]
        if not len(long):
            break
        piece = words[starts[long] + at] & _MASKS[np.minimum(rest[rest > 0], 8)]
        mixed = (found[long] ^ (found[long] >> np.uint64(29))) * _MIX + piece
        found[long] = (mixed ^ (mixed >> np.uint64(32))) * _SPREAD
    for index in np.flatnonzero(lengths > _SWIFT_BYTES).tolist():
        start = int(starts[index])
        found[index] = _digest_long(data[start : start + int(lengths[index])].tobytes())
    found[found == 0] = 1
    return found


def _digest_long(token: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(token, digest_size=8).digest(), "little")


def digest(token: bytes) -> int:
    """The same for one token, without arrays."""
    if len(token) > _SWIFT_BYTES:
        return max(_digest_long(token), 1)
    found = int.from_bytes(token[:8], "little")
    for at in range(8, len(token), 8):
        mixed = (found ^ (found >> 29)) * int(_MIX) + int.from_bytes(token[at : at + 8], "little") & _ALL
        found = (mixed ^ (mixed >> 32)) * int(_SPREAD) & _ALL
    return max(found, 1)


def arranged(digests: U64) -> NDArray[np.int64]:
    """In which order tokens get their ids: the reserved ones first, then by a hash of their digests.

    So the words that follow a context are spread evenly over all ids, whatever they have in common, and a search among
    them can begin where it ends. Two vocabularies have the words they share in the same order.
    """
    z = digests[len(RESERVED) :]
    for shift, factor in _SPLITMIX:
        z = (z ^ (z >> shift)) * factor
    order = np.argsort(z ^ (z >> np.uint64(31)), kind="stable") + len(RESERVED)
    return np.concatenate([np.arange(len(RESERVED)), order])


def inverse(order: NDArray[np.int64]) -> U32:
    """The new number of each old one, `order` being the old numbers in their new order."""
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = np.arange(len(order), dtype=np.uint32)
    return numbers


class Table:
    """Open addressing, linear probing: `keys` (a power of two of them, 0 is empty) and the `ids` beside them."""

    def __init__(self, keys: U64, ids: U32) -> None:
        self.keys, self.ids = keys, ids
        self._shift = np.uint64(64 - (len(keys).bit_length() - 1))
        self._mask = np.uint64(len(keys) - 1)

    @classmethod
    def sized(cls, entries: int) -> Table:
        """An empty table at most half full with so many entries."""
        size = 1 << max(4, (2 * entries - 1).bit_length())
        return cls(np.zeros(size, np.uint64), np.zeros(size, np.uint32))

    def slots(self, keys: U64) -> tuple[U64, NDArray[np.bool_]]:
        """Where each key is, or the empty place where it would be; and whether it is there."""
        slots = (keys * _SPREAD) >> self._shift
        held = self.keys[slots]
        present = held == keys
        astray = np.flatnonzero(~present & (held != 0))
        while len(astray):
            slots[astray] = (slots[astray] + np.uint64(1)) & self._mask
            held = self.keys[slots[astray]]
            present[astray] = same = held == keys[astray]
            astray = astray[~same & (held != 0)]
        return slots, present

    def find(self, keys: U64) -> U32:
        """The id of each key, UNKNOWN where it is not in the table."""
        slots, present = self.slots(keys)
        return self.ids[slots] * present  # UNKNOWN is 0, and so is the id of an empty place

    def find_one(self, key: int) -> int:
        """The same for one key, without arrays."""
        keys, slot = self.keys.data, (key * int(_SPREAD) & _ALL) >> int(self._shift)
        while (held := keys[slot]) not in (key, 0):
            slot = (slot + 1) & int(self._mask)
        return int(self.ids[slot]) if held else 0

    def insert(self, keys: U64, ids: U32) -> None:
        """Adds keys that are not in the table and all different."""
        while len(keys):
            slots, _ = self.slots(keys)
            self.keys[slots] = keys  # the last of those that want one place gets it
            won = self.keys[slots] == keys
            self.ids[slots[won]] = ids[won]
            keys, ids = keys[~won], ids[~won]


class Vocabulary:
    """Tokens by id and ids by token, over arrays that may lie in a mapped file."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._text: NDArray[np.uint8] = arrays["vocabulary.text"]
        self.offsets: U32 = arrays["vocabulary.offsets"]
        self.table = Table(arrays["vocabulary.keys"], arrays["vocabulary.ids"])
        self.sorted: U32 = arrays["vocabulary.sorted"]
        self._recent: dict[bytes, int] = {}

    @classmethod
    def of(cls, tokens: Sequence[bytes]) -> Vocabulary:
        """Of tokens in this order; they follow the reserved words."""
        words = [*RESERVED, *tokens]
        return cls(arrays_of(words, np.array([digest(word) for word in words], np.uint64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def token(self, number: int) -> bytes:
        """The bytes of a token."""
        return self._text[self.offsets[number] : self.offsets[number + 1]].tobytes()

    def id(self, token: bytes) -> int:
        """The token's number, or UNKNOWN."""
        known = self._recent.get(token)
        if known is None:
            known = self.table.find_one(digest(token))
            if len(self._recent) < 1 << 16:
                self._recent[token] = known
        return known

    def beginning(self, prefix: bytes) -> U32:
        """The ids of the tokens that begin with these bytes, rising; reserved words never do."""
        low = bisect_left(self.sorted, prefix, key=self.token)
        high = bisect_right(self.sorted, prefix, low, key=lambda number: self.token(number)[: len(prefix)])
        return np.sort(self.sorted[low:high])


def arrays_of(tokens: Sequence[bytes], digests: U64) -> dict[str, Array]:
    """The arrays of a vocabulary: tokens in the order of their ids, reserved ones first, with their digests."""
    offsets = np.zeros(len(tokens) + 1, np.uint32)
    np.cumsum(lengths(tokens), out=offsets[1:])
    table = Table.sized(len(tokens))
    table.insert(digests, np.arange(len(tokens), dtype=np.uint32))
    return {
        "vocabulary.text": np.frombuffer(b"".join(tokens), np.uint8),
        "vocabulary.offsets": offsets,
        "vocabulary.sorted": np.array(sorted(range(len(RESERVED), len(tokens)), key=tokens.__getitem__), np.uint32),
        "vocabulary.keys": table.keys,
        "vocabulary.ids": table.ids,
    }


def lengths(tokens: Iterable[bytes]) -> NDArray[np.int64]:
    return np.fromiter((len(token) for token in tokens), np.int64)
