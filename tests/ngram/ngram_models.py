"""What the room's tests share: a model from a text in one call, and the golden files KenLM made."""

from __future__ import annotations

import gzip
from pathlib import Path

from service.ngram import Model, NgramSpec, Trained, Warned, train
from service.tensors import Tensors

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def trained(spec: NgramSpec, text: bytes | str) -> tuple[Trained, list[str]]:
    """The last event of a training, and its warnings."""
    events = list(train(spec, text.encode() if isinstance(text, str) else text))
    last = events[-1]
    assert isinstance(last, Trained)
    return last, [event.message for event in events if isinstance(event, Warned)]


def model_of(spec: NgramSpec, text: bytes | str) -> Model:
    """A model straight from the arrays, not through a file."""
    last, _ = trained(spec, text)
    return Model(Tensors(dict(last.arrays), dict(last.metadata)))


def golden_text(name: str) -> bytes:
    """A text of `tests/golden`."""
    return gzip.decompress((GOLDEN / f"ngram_{name}.txt.gz").read_bytes())


def golden_arpa(name: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """log10 probability and backoff of each n-gram of a golden ARPA file; 0 where there is no backoff."""
    entries: dict[tuple[str, ...], tuple[float, float]] = {}
    with gzip.open(GOLDEN / f"ngram_{name}.arpa.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if len(fields) >= 2:
                entries[tuple(fields[1].split(" "))] = (float(fields[0]), float(fields[2]) if fields[2:] else 0.0)
    return entries
