"""Mixes n-gram models, with weights tuned on a text; after a crash it simply begins again."""

from __future__ import annotations

import json

from service import ngram, tensors
from service.data import text_parts
from service.errors import DataUnusable
from service.jobs.texts import Made, concluded, heed
from service.jobs.verdict import Verdict, Work
from service.ngram import Mixture, Model
from service.specs import MixtureSpec
from service.tensors import Tensors


def mix(work: Work) -> Verdict:
    """The mixture, scored on the text its weights are tuned on, and on the test part."""
    spec = MixtureSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    said = spec.dataset
    parts = text_parts(
        work.dataset(row), said, validation=work.referred(said.validation), test=work.referred(said.test)
    )
    texts = {"val": parts.train, "test": parts.test}
    return concluded(work, lambda: _mixed(work, spec, parts.train), texts, spec.tune_cache, row.sha256)


def _mixed(work: Work, spec: MixtureSpec, text: memoryview) -> Made:
    files = [_file(work, blob) for blob in spec.blobs or ()]
    models = [Model(file) for file in files]
    work.reporter.tell(phase="mixing")
    heed(work)
    mixture = ngram.tune_mixture(models, text) if spec.weights is None else Mixture(models, spec.weights)
    parts = []
    for name, weight, model in zip(spec.models, mixture.weights, models, strict=True):
        heed(work)
        parts.append({"model": name, "weight": weight, "val_perplexity": model.score(text).perplexity})
    arrays, metadata = ngram.pack_mixture(mixture, files)
    return Made(arrays, metadata, {"vocabulary": len(mixture.vocabulary)}, {"parts": parts, "warnings": []})


def _file(work: Work, blob: str) -> Tensors:
    path = work.store.blobs.path(blob)
    if not path.exists():
        raise DataUnusable("a model of the mixture is gone: its run has been deleted")
    return tensors.read(path)
