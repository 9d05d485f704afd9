"""Counts an n-gram model from a text and scores it on the parts held back; after a crash it simply begins again."""

from __future__ import annotations

import json

from service import ngram
from service.data import TextParts, text_parts
from service.jobs.texts import Made, concluded, listened
from service.jobs.verdict import Verdict, Work
from service.specs import NgramJobSpec, ngram_spec


def count(work: Work) -> Verdict:
    """Counting, then scores of the validation and the test part."""
    spec = NgramJobSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    said = spec.dataset
    parts = text_parts(
        work.dataset(row), said, validation=work.referred(said.validation), test=work.referred(said.test)
    )
    texts = {"val": parts.validation, "test": parts.test}
    return concluded(work, lambda: _counted(work, spec, parts), texts, spec.tune_cache, row.sha256)


def _counted(work: Work, spec: NgramJobSpec, parts: TextParts) -> Made:
    trained, warnings = listened(work, ngram.train(ngram_spec(spec), parts.train, spec.max_memory_bytes))
    facts = {"tokens": trained.tokens, "sentences": trained.sentences, "vocabulary": trained.vocabulary}
    return Made(
        trained.arrays, trained.metadata, facts, {"ngrams": trained.ngrams, "warnings": [*parts.warnings, *warnings]}
    )
