"""Evaluates a model: the rows of a data set, or a text, piece by piece; after a crash it simply begins again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from service import tensors
from service.clock import monotonic_s
from service.errors import DataUnusable, RunError
from service.jobs import receipt
from service.jobs.verdict import GivenBack, Verdict, Work
from service.serving import Evaluation, evaluation
from service.specs import EvaluateSpec
from service.tensors import Tensors


def evaluate(work: Work) -> Verdict:
    """Scores at step 1, called test_loss and so on; confusion and worst rows in the report. Raises GivenBack."""
    spec = EvaluateSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    file = _file(work, spec)
    work.reporter.tell(phase="evaluating")
    found = _evaluated(work, evaluation(spec, file, work.dataset(row)))
    if found is None:
        return Verdict("cancelled", stopped_by="user")
    told = {name: value for name, value in found.scores.items() if value is not None}
    series = {f"test_{name}": (np.array([1]), np.array([value])) for name, value in told.items()}
    work.reporter.tell(series=series, step=1, progress=1.0)
    report = {"scores": found.scores, "rows": found.rows, "left_out": found.left_out, **found.findings}
    if found.left_out:
        report["warnings"] = [f"{found.left_out:,} rows have classes that the model does not know; they are left out"]
    return Verdict("succeeded", report=report, receipt=receipt.of(work.run.spec, row.sha256))


def _file(work: Work, spec: EvaluateSpec) -> Tensors:
    path = work.store.blobs.path(spec.blob or "")
    if not path.exists():
        raise DataUnusable("the weights to evaluate are gone: their run has been deleted")
    return tensors.read(path)


def _evaluated(work: Work, pieces: Iterator[float | Evaluation]) -> Evaluation | None:
    """To the end, or to a cancel (None). Raises GivenBack: there is nothing to keep of half an evaluation."""
    began_s = monotonic_s()
    for piece in pieces:
        if isinstance(piece, Evaluation):
            return piece
        spent_s = monotonic_s() - began_s
        work.reporter.tell(progress=piece, eta_s=spent_s / piece - spent_s if piece > 0 else None)
        ask = work.reporter.asked()
        if ask == "cancel":
            return None
        if ask is not None:
            raise GivenBack(ask)
    raise RunError("the evaluation ended without a result")
