"""A model on rows whose answers are known: scores, confusion, worst rows; piece by piece, told as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.data import Applied, Dataset, Letters, Preprocessor, apply, text_parts
from service.engine import Assessment
from service.errors import InvalidData
from service.ngram import LanguageModel
from service.serving.findings import WORST, Findings
from service.serving.registry import RowModel, load
from service.specs import EvaluateSpec, artifact, examples_of
from service.specs.artifact import NetworkModel
from service.tensors import Array, Tensors

_PIECE_BYTES = 1 << 18  # of a text, scored at once


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model reached. `rows` were scored; `left_out` have a class that the model does not know."""

    scores: dict[str, float | None]
    rows: int
    left_out: int = 0
    findings: dict[str, Any] = field(default_factory=dict)


def evaluation(spec: EvaluateSpec, file: Tensors, dataset: Dataset) -> Iterator[float | Evaluation]:
    """What a resolved spec asks for: the share that is done, again and again; the evaluation comes last.

    Raises InvalidData when no row has an answer that the model could give.
    """
    assert spec.dataset is not None
    model, part = load(file), spec.part or "all"
    if not isinstance(model, RowModel):
        fractions = {"validation": 0.0, "test": 0.0} if part == "all" else {}
        cut = text_parts(dataset, spec.dataset.model_copy(update=fractions))
        yield from evaluate_text(model, getattr(cut, "train" if part == "all" else part))
        return
    found = artifact.unpack(file)
    assert isinstance(found.preprocessor, Preprocessor)
    applied = apply(dataset, found.preprocessor)
    ids = applied.held(spec.dataset, part)
    yield from evaluate(found, applied, ids, spec.metrics or (), part, spec.worst_rows)


def evaluate(
    model: NetworkModel, applied: Applied, ids: Array, metrics: Sequence[str], name: str, worst: int = WORST
) -> Iterator[float | Evaluation]:
    """The same of a network and the rows `ids`."""
    if isinstance(model.preprocessor, Letters):
        raise TypeError("letters are scored as a text")
    network, preprocessor = model.bind(), model.preprocessor
    assessment = Assessment(
        model.network, model.signature, model.weights, model.loss, metrics, model.dtype, preprocessor.units
    )
    found = Findings(model.loss.target, preprocessor.classes, preprocessor.answers, worst)
    seen = rows = 0
    for some in applied.pieces(ids):
        part = applied.part(some)
        seen, rows = seen + len(some), rows + len(part.x)
        if len(part.x):
            assessment.add(examples_of(part))
            found.add(part, network(part.x))
        yield seen / len(ids)
    if not rows:
        raise InvalidData("no row has an answer that the model could give")
    yield Evaluation(dict(assessment.scores()), rows, seen - rows, found.report(name))


def evaluate_text(model: LanguageModel[Any], text: memoryview) -> Iterator[float | Evaluation]:
    """The same of a text: perplexities, in pieces of whole lines."""
    total, begin = None, 0
    while begin < len(text):
        end = _line_end(text, begin + _PIECE_BYTES)
        score = model.score(text[begin:end])
        total, begin = score if total is None else total + score, end
        yield begin / len(text)
    if total is None:
        raise InvalidData("the text is empty")
    scores = {"perplexity": total.perplexity, "perplexity_excluding_oov": total.perplexity_excluding_oov}
    yield Evaluation(scores, total.sentences, findings={"tokens": total.tokens, "oov": total.oov})


def _line_end(text: memoryview, at: int) -> int:
    """Behind the first line that ends at `at` or later."""
    while at < len(text):
        found = bytes(text[at - 1 : at + _PIECE_BYTES]).find(b"\n")
        if found >= 0:
            return at + found
        at += _PIECE_BYTES
    return len(text)
