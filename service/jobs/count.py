"""Counts an n-gram model from a text and scores it on the parts held back; after a crash it simply begins again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from service import ngram, tensors
from service.clock import monotonic_s
from service.data import text_parts
from service.errors import RunError
from service.jobs import receipt
from service.jobs.verdict import GivenBack, Verdict, Work
from service.specs import NgramJobSpec, ngram_spec
from service.tensors import Array, Tensors

_SCORING = 0.9  # progress at which counting ends and scoring begins


class Cancelled(Exception):  # noqa: N818  not an error
    """Half an n-gram model is of no use."""


def count(work: Work) -> Verdict:
    """Counting, then scores of the validation and the test part at step 1."""
    spec = NgramJobSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    said = spec.dataset
    parts = text_parts(
        work.dataset(row), said, validation=work.referred(said.validation), test=work.referred(said.test)
    )
    try:
        trained, warnings = _counted(work, spec, parts.train)
        work.reporter.tell(phase="evaluating", progress=_SCORING)
        scores: dict[str, float | None] = {}
        for part, text in (("val", parts.validation), ("test", parts.test)):
            if text is not None:
                _heed(work)
                scores |= _scores(part, trained, text)
    except Cancelled:
        return Verdict("cancelled", stopped_by="user")
    series = {name: (np.array([1]), np.array([value])) for name, value in scores.items() if value is not None}
    digest = _digest(trained.arrays)
    work.reporter.tell(series=series, step=1, phase="saving")
    facts = {"tokens": trained.tokens, "sentences": trained.sentences, "vocabulary": trained.vocabulary}
    run = {"run_id": work.run.id, "weights_sha256": digest, "scores": scores, **facts}
    return Verdict(
        "succeeded", model=(trained.arrays, {**trained.metadata, "run": json.dumps(run)}), weights_sha256=digest,
        receipt=receipt.of(work.run.spec, row.sha256), report=facts | {"ngrams": trained.ngrams, "warnings": warnings},
    )  # fmt: skip


def _counted(work: Work, spec: NgramJobSpec, text: memoryview) -> tuple[ngram.Trained, list[str]]:
    began_s, warnings = monotonic_s(), list[str]()
    for event in ngram.train(ngram_spec(spec), text, spec.max_memory_bytes):
        match event:
            case ngram.Trained():
                return event, warnings
            case ngram.Warned(message):
                warnings.append(message)
                work.reporter.tell(events=[("warning", {"message": message})])
            case ngram.Progressed(phase, fraction):
                spent_s = monotonic_s() - began_s
                eta_s = spent_s / fraction - spent_s if fraction > 0 else None
                work.reporter.tell(phase=phase, progress=_SCORING * fraction, eta_s=eta_s)
        _heed(work)
    raise RunError("the counting ended without a model")


def _heed(work: Work) -> None:
    ask = work.reporter.asked()
    if ask == "cancel":
        raise Cancelled
    if ask is not None:
        raise GivenBack(ask)


def _scores(part: str, trained: ngram.Trained, text: memoryview) -> dict[str, float | None]:
    score = ngram.Model(Tensors(dict(trained.arrays), dict(trained.metadata))).score(text)
    return {f"{part}_perplexity": score.perplexity, f"{part}_perplexity_excluding_oov": score.perplexity_excluding_oov}


def _digest(arrays: Mapping[str, Array]) -> str:
    """Of the arrays alone: the same text and spec give the same, whatever the run is called."""
    digest = hashlib.sha256()
    for piece in tensors.pieces(arrays, {}):
        digest.update(piece)
    return digest.hexdigest()
