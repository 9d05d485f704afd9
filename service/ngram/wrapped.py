"""Whether the lines of a text are no sentences: a book's, which break off at the margin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from service.ngram.reader import Text
from service.ngram.spec import NgramSpec

SAMPLE_BYTES = 1 << 16
_PAIRS = 20  # of lines that follow each other; from fewer nothing is concluded
_WORDS = 5  # a line on average; names and verses in lower case have fewer

WARNING = (
    'most lines of the text break off inside a sentence, and each was read as one; "sentences": "paragraph" reads on'
    " across them, up to a blank line"
)


def warnings(spec: NgramSpec, sample: Text) -> Iterator[str]:
    """A warning for a text in paragraphs, whose lines mostly go on in lower case, when lines are its sentences."""
    if spec.sentences != "line":
        return
    lines = [line.strip() for line in bytes(sample[:SAMPLE_BYTES]).decode("utf-8", "replace").split("\n")[:-1]]
    firsts = [line[0].islower() for before, line in pairwise(lines) if line and not before]
    nexts = [line[0].islower() for before, line in pairwise(lines) if line and before]
    if len(nexts) < _PAIRS or not firsts or sum(len(line.split()) for line in lines) < _WORDS * len(nexts):
        return
    if sum(nexts) > len(nexts) / 2 and sum(firsts) < len(firsts) / 2:
        yield WARNING
