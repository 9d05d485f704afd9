"""Where an n-gram stands in the text a model was trained on: searched there, so that the model stays small."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.ngram.contract import END, RESERVED, START
from service.ngram.reader import Text, blocks, normalised
from service.ngram.spec import NgramSpec
from service.ngram.tokenizers import BLANK

_EDGES = (RESERVED[START].decode(), RESERVED[END].decode())
_AROUND = 80  # characters of context told on either side


@dataclass(frozen=True)
class Source:
    """One place: the line (from 1), and its text before, in and after the n-gram."""

    line: int
    before: str
    text: str
    after: str


def find_sources(spec: NgramSpec, text: Text, ngram: Sequence[str], limit: int = 3) -> Iterator[Source]:
    """The first places where the tokens stand in a row, as the model read them.

    <s> and </s> at the ends of the n-gram stand for the edges of a line or paragraph.
    """
    pattern, tokens = _pattern(spec, ngram), _inner(ngram)
    line = 1
    for block in blocks(text):
        shown = bytes(block).decode("utf-8", "replace")
        seen = normalised(spec, shown)
        shown = shown if len(shown) == len(seen) else seen
        for match in pattern.finditer(seen) if all(token in seen for token in tokens) else ():
            if limit <= 0:
                return
            limit -= 1
            yield _source(shown, match.start(), match.end(), line + seen.count("\n", 0, match.start()))
        line += seen.count("\n")


def _source(text: str, start: int, end: int, line: int) -> Source:
    before = text[max(0, start - _AROUND) : start].rpartition("\n")[2]
    after = text[end : end + _AROUND].partition("\n")[0]
    return Source(line, before, text[start:end], after)


def _inner(ngram: Sequence[str]) -> list[str]:
    return [token for token in ngram if token not in _EDGES]


def _pattern(spec: NgramSpec, ngram: Sequence[str]) -> re.Pattern[str]:
    first, last = {"line": ("^", "$"), "paragraph": (r"(?:\A|(?<=\n\n))", r"(?=\n\n|\n?\Z)")}.get(
        spec.sentences, (r"\A", r"\n?\Z")
    )
    inner = _joined(spec, _inner(ngram))
    blank = rf"[{BLANK}]*" if spec.tokenizer.unit == "word" else ""
    head = first + blank if ngram[0] == _EDGES[0] else ""
    tail = blank + last if ngram[-1] == _EDGES[1] else ""
    return re.compile(head + inner + tail, re.MULTILINE)


def _joined(spec: NgramSpec, tokens: Sequence[str]) -> str:
    """Literals come first, what must not stand before them is looked up behind: so the search can leap."""
    escaped = [re.escape(token) for token in tokens]
    if spec.tokenizer.kind == "word":
        feed = "" if spec.sentences == "line" else r"\n"
        whole = [rf"{each}(?<![^{BLANK}\n]{each})(?![^{BLANK}\n])" for each in escaped]
        return rf"[{BLANK}{feed}]+".join(whole)
    if spec.tokenizer.kind == "regex":
        whole = [rf"{each}(?<!\w{each})(?!\w)" if each[-1:].isalnum() else each for each in escaped]
        return (r"[^\S\n]*" if spec.sentences == "line" else r"\s*").join(whole)
    return "".join(escaped)
