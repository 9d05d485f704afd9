"""Makes a model of an ARPA file; after a crash it simply begins again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

from service import ngram
from service.jobs.texts import Made, concluded, listened
from service.jobs.verdict import Verdict, Work
from service.specs import ArpaSpec

_BLOCK_BYTES = 1 << 22


def arpa(work: Work) -> Verdict:
    """The model. Raises InvalidData naming the line that cannot be read."""
    spec = ArpaSpec.model_validate_json(json.dumps(work.run.spec))
    row = work.row()
    return concluded(work, lambda: _read(work, spec, work.dataset(row).text()), {}, False, row.sha256)


def _read(work: Work, spec: ArpaSpec, text: memoryview) -> Made:
    trained, warnings = listened(work, ngram.import_arpa(_lines(text), spec))
    facts = {"vocabulary": trained.vocabulary}
    return Made(trained.arrays, trained.metadata, facts, {"ngrams": trained.ngrams, "warnings": warnings})


def _lines(text: memoryview) -> Iterator[bytes]:
    """Without copying the whole file."""
    rest = b""
    for at in range(0, len(text), _BLOCK_BYTES):
        lines = io.BytesIO(rest + bytes(text[at : at + _BLOCK_BYTES])).readlines()
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        yield from lines
    if rest:
        yield rest
