"""What a training will need, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

from service.ngram.reader import Text
from service.ngram.spec import NgramSpec


@dataclass(frozen=True)
class Plan:
    """tokens: estimated, sentence ends included. bytes: peak memory of the training."""

    tokens: int
    bytes: int
    warnings: tuple[str, ...] = ()


def peak_bytes(spec: NgramSpec, tokens: int, vocabulary: int, text_bytes: int) -> int:
    """An upper estimate from how many tokens were read."""
    return 60_000_000 + text_bytes + 200 * vocabulary + tokens * (30 + 16 * spec.order)


def plan(spec: NgramSpec, text_bytes: int, sample: Text = b"") -> Plan:
    """From the size of the text, and if at hand its beginning, from which the number of tokens is estimated."""
    tokens = int(text_bytes * _density(spec, bytes(sample))) + 1
    return Plan(tokens, peak_bytes(spec, tokens, tokens // 10, text_bytes))


def _density(spec: NgramSpec, sample: bytes) -> float:
    """Tokens a byte."""
    if spec.tokenizer.unit == "byte" or not sample:
        return 1.0 if spec.tokenizer.unit != "word" else 0.5
    if spec.tokenizer.unit == "character":
        return len(sample.decode("utf-8", "replace")) / len(sample)
    factor = 1.3 if spec.tokenizer.kind == "regex" else 1.0
    return min(1.0, (len(sample.split()) * factor + sample.count(b"\n")) / len(sample))
