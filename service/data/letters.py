"""Characters by number: what a network that foretells a text's letters must remember."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.data.preprocessor import Preprocessor
from service.errors import InvalidData

UNKNOWN = 0
BLOCK = 1 << 22
_CODES = 0x110000
_VERSION = 1

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Letters:
    """What a letter network must remember: its characters, sorted; the id of the first is 1, of an unknown one 0."""

    characters: str
    window: int

    scale: ClassVar[float] = 1.0
    offset: ClassVar[float] = 0.0
    classes: ClassVar[None] = None  # a next character is no class of a row

    @property
    def vocabulary(self) -> int:
        """How many ids there are, the unknown one among them."""
        return len(self.characters) + 1

    @cached_property
    def _ids(self) -> Ids:
        """The id by code point; the last place is for all beyond."""
        codes = _codes(self.characters)
        table = np.zeros(int(codes.max(initial=0)) + 2, np.int32)
        table[codes] = np.arange(1, len(codes) + 1)
        return table

    def encode(self, text: str) -> Ids:
        """Ids of a text, one a character."""
        return self._ids.take(_codes(text), mode="clip")

    def decode(self, id: int) -> str:
        """The character of an id; the replacement character for the unknown one."""
        return self.characters[id - 1] if id else "\ufffd"

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {"version": _VERSION, "kind": "letters", "characters": self.characters, "window": self.window}

    @staticmethod
    def of(text: memoryview, window: int) -> Letters:
        """The characters of a text, UTF-8."""
        seen = np.zeros(_CODES, np.bool_)
        for block in blocks(text):
            seen[_codes(block)] = True
        return Letters("".join(map(chr, np.flatnonzero(seen).tolist())), window)


def stored_preprocessor(stored: Mapping[str, Any]) -> Preprocessor | Letters:
    """What `to_json` wrote. Raises InvalidData when it is of another version."""
    if stored.get("kind") != "letters":
        return Preprocessor.from_json(stored)
    if stored.get("version") != _VERSION:
        raise InvalidData(f"letters of version {stored.get('version')} cannot be read by this service")
    return Letters(stored["characters"], stored["window"])


def blocks(text: memoryview) -> Iterator[str]:
    """A long text, UTF-8, piece by piece."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for start in range(0, len(text), BLOCK):
        yield decoder.decode(text[start : start + BLOCK], start + BLOCK >= len(text))


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
