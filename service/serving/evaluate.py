"""A model on rows whose answers are known: scores, confusion, worst rows; piece by piece, told as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.data import Applied, Dataset, Letters, Part, Preprocessor, apply, text_parts
from service.engine import Assessment
from service.errors import InvalidData
from service.ngram import LanguageModel
from service.serving.calibration import Calibration
from service.serving.findings import Findings
from service.serving.importance import Score, importance
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
    applied = apply(dataset, found.preprocessor, leave_out=True)
    found = found.shaped(applied.shape)
    ids = applied.held(spec.dataset, part)
    share = 0.5 if spec.importance else 1.0
    for piece in evaluate(found, applied, ids, spec, part):
        if not isinstance(piece, Evaluation):
            yield share * piece
            continue
        for step in importance(applied, ids, _loss_of(found), spec.importance) if spec.importance else ():
            if isinstance(step, dict):
                piece.findings["importance"] = {"part": part, **step}
            else:
                yield share + (1 - share) * step
        yield piece


def evaluate(
    model: NetworkModel, applied: Applied, ids: Array, spec: EvaluateSpec, name: str
) -> Iterator[float | Evaluation]:
    """The same of a network and the rows `ids`."""
    if isinstance(model.preprocessor, Letters):
        raise TypeError("letters are scored as a text")
    network, preprocessor = model.bind(), model.preprocessor
    assessment = _assessment(model, preprocessor, spec.metrics or ())
    found = Findings(
        model.loss.target, preprocessor.classes, preprocessor.answers, spec.worst_rows, Calibration(spec.temperature)
    )
    seen = rows = 0
    for some in applied.pieces(ids):
        part = applied.part(some)
        seen, rows = seen + len(some), rows + len(part.x)
        if len(part.x):
            assessment.add(examples_of(part))
            found.add(part, _finite(network(part.x, part.lengths)))
        yield seen / len(ids)
    if not rows:
        raise InvalidData("no row has an answer that the model could give")
    yield Evaluation(dict(assessment.scores()), rows, seen - rows, found.report(name))


def _finite(y: Array) -> Array:
    """The model's answers. Raises InvalidData when one is no number."""
    if not np.isfinite(y).all():
        hint = "Its training went too far, or the rows are far from those it was trained on."
        raise InvalidData("the model answers with numbers that are not finite", hint=hint)
    return y


def _assessment(model: NetworkModel, preprocessor: Preprocessor, metrics: Sequence[str] = ()) -> Assessment:
    return Assessment(
        model.network, model.signature, model.weights, model.loss, metrics, model.dtype, preprocessor.units
    )


def _loss_of(model: NetworkModel) -> Score:
    """The loss on a part."""

    def loss(part: Part) -> float:
        assert isinstance(model.preprocessor, Preprocessor)
        assessment = _assessment(model, model.preprocessor)
        assessment.add(examples_of(part))
        return assessment.scores()["loss"]

    return loss


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
