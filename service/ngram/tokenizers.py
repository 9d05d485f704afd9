"""How a text is cut into tokens, and how tokens are put together again.

Training reads big blocks with array code (`reader.py`); prompts are short and are cut by one regular expression.
A test holds the two equal.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.ngram.contract import Spec

Unit = Literal["word", "character", "byte"]
BLANK = "\0\t\r "
"""What separates words beside the line feed: exactly KenLM's (lm/builder/corpus_count.cc)."""


class Word(Spec):
    """Words are what stands between blanks: NUL, tab, carriage return, line feed and space, exactly as in KenLM."""

    kind: Literal["word"] = "word"
    unit: ClassVar[Unit] = "word"
    token: ClassVar[str] = rf"[^{BLANK}\n]+"

    def glue(self, before: str, token: str) -> str:
        """What `token` adds to a text that ends with `before`."""
        return token if not before or before[-1].isspace() else " " + token


class Regex(Spec):
    r"""Words with the apostrophes inside them, and every other mark by itself: `\w+(?:['’]\w+)*|[^\w\s]`."""

    kind: Literal["regex"] = "regex"
    unit: ClassVar[Unit] = "word"
    token: ClassVar[str] = r"\w+(?:['’]\w+)*|[^\w\s]"

    def glue(self, before: str, token: str) -> str:
        """What `token` adds to a text that ends with `before`: none before a closing mark."""
        tight = not before or before[-1].isspace() or before[-1] in "([{“‘¿¡" or token[0] in ".,;:!?)]}”’%…"
        return token if tight else " " + token


class Character(Spec):
    """Every Unicode character is a token, blanks too."""

    kind: Literal["character"] = "character"
    unit: ClassVar[Unit] = "character"
    token: ClassVar[str] = r"[\s\S]"

    def glue(self, before: str, token: str) -> str:
        """What `token` adds to a text: itself."""
        return token


class Byte(Spec):
    """Every byte of the UTF-8 text is a token; nothing is ever out of vocabulary but a byte never seen."""

    kind: Literal["byte"] = "byte"
    unit: ClassVar[Unit] = "byte"
    token: ClassVar[str] = r"[\s\S]"

    def glue(self, before: str, token: str) -> str:
        """What `token` adds to a text: itself."""
        return token


AnyTokenizer = Word | Regex | Character | Byte
Tokenizer = Annotated[AnyTokenizer, Field(discriminator="kind")]

_BREAKS = {"line": r"\n", "paragraph": rf"\n(?:[{BLANK}]*\n)+", "document": r"(?!)"}


def pattern(tokenizer: AnyTokenizer, sentences: str) -> re.Pattern[str]:
    """Matches one piece of a text: blanks, then the end of a sentence (group 1) or a token (group 2)."""
    if tokenizer.unit == "word":
        return re.compile(rf"\s*?(?:({_BREAKS[sentences]})|({tokenizer.token}))")
    return re.compile(rf"({_BREAKS[sentences]})|({tokenizer.token})")
