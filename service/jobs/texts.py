"""What the jobs that make a model of n-grams share: stopping when asked, scores, a cache, the verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from service import ngram, tensors
from service.clock import monotonic_s
from service.errors import RunError
from service.jobs import receipt
from service.jobs.verdict import GivenBack, Verdict, Work
from service.ngram import Cache, Cached, Static
from service.tensors import Array, Tensors

COUNTED = 0.9
"""Progress at which a model is made and its scores begin."""
_TUNED_BYTES = 1 << 20  # of the validation part a cache is tuned on


class Cancelled(Exception):  # noqa: N818  not an error
    """Half an n-gram model is of no use."""


@dataclass(frozen=True)
class Made:
    """A model, and what is told of it: `facts` beside its file and in the report, `report` only there."""

    arrays: Mapping[str, Array]
    metadata: Mapping[str, str]
    facts: Mapping[str, Any]
    report: Mapping[str, Any]

    def file(self) -> Tensors:
        """As if it were read."""
        return Tensors(dict(self.arrays), dict(self.metadata))


def heed(work: Work) -> None:
    """Raises Cancelled or GivenBack when the run is to stop."""
    ask = work.reporter.asked()
    if ask == "cancel":
        raise Cancelled
    if ask is not None:
        raise GivenBack(ask)


def listened(work: Work, events: Iterable[ngram.Event]) -> tuple[ngram.Trained, list[str]]:
    """The model that events end with, and its warnings; progress is reported."""
    began_s, warnings = monotonic_s(), list[str]()
    for event in events:
        match event:
            case ngram.Trained():
                return event, warnings
            case ngram.Warned(message):
                warnings.append(message)
                work.reporter.tell(events=[("warning", {"message": message})])
            case ngram.Progressed(phase, fraction):
                spent_s = monotonic_s() - began_s
                eta_s = spent_s / fraction - spent_s if fraction > 0 else None
                work.reporter.tell(phase=phase, progress=COUNTED * fraction, eta_s=eta_s)
        heed(work)
    raise RunError("the counting ended without a model")


def concluded(
    work: Work, make: Callable[[], Made], texts: Mapping[str, memoryview | None], tune_cache: bool, sha256: str
) -> Verdict:
    """Makes the model, scores it on the parts that were held back, at step 1."""
    try:
        made = make()
        work.reporter.tell(phase="evaluating", progress=COUNTED)
        model = ngram.load(made.file())
        cache = _tuned(work, model, texts.get("val")) if tune_cache else None
        scores = _scores(work, model, cache, texts)
    except Cancelled:
        return Verdict("cancelled", stopped_by="user")
    series = {name: (np.array([1]), np.array([value])) for name, value in scores.items() if value is not None}
    digest = _digest(made.arrays)
    work.reporter.tell(series=series, step=1, phase="saving")
    run = {"run_id": work.run.id, "weights_sha256": digest, "scores": scores, **made.facts}
    known = {} if cache is None else {"cache": cache.model_dump()}
    metadata = {**made.metadata, "facts": json.dumps(json.loads(made.metadata["facts"]) | known)}
    return Verdict(
        "succeeded", model=(made.arrays, {**metadata, "run": json.dumps(run)}), weights_sha256=digest,
        receipt=receipt.of(work.run.spec, sha256), report={**made.facts, **made.report, **known},
    )  # fmt: skip


def _tuned(work: Work, model: Static[Any], text: memoryview | None) -> Cache | None:
    if text is None:
        return None
    heed(work)
    work.reporter.tell(phase="tuning")
    piece = bytes(text[:_TUNED_BYTES])
    return ngram.tune_cache(model, piece[: piece.rfind(b"\n") + 1] if len(text) > len(piece) else piece)


def _scores(
    work: Work, model: Static[Any], cache: Cache | None, texts: Mapping[str, memoryview | None]
) -> dict[str, float | None]:
    scores: dict[str, float | None] = {}
    for part, text in texts.items():
        if text is None:
            continue
        heed(work)
        score = model.score(text)
        scores[f"{part}_perplexity"] = score.perplexity
        scores[f"{part}_perplexity_excluding_oov"] = score.perplexity_excluding_oov
        if cache is not None:
            scores[f"{part}_perplexity_with_cache"] = Cached(model, cache).score(text).perplexity
    return scores


def _digest(arrays: Mapping[str, Array]) -> str:
    """Of the arrays alone: the same text and spec give the same, whatever the run is called."""
    digest = hashlib.sha256()
    for piece in tensors.pieces(arrays, {}):
        digest.update(piece)
    return digest.hexdigest()
