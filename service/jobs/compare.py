"""A run that repeats another says at its end whether it came out the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.errors import NotFound
from service.jobs.verdict import Verdict
from service.storage import Run, Store

_OWN = ("spec_sha256",)  # of the receipt: a repetition's spec names the run it repeats


def with_repeated(store: Store, run: Run, verdict: Verdict) -> Verdict:
    """The verdict with `verify` in its report: whether the weights are equal, and what of the receipts is not."""
    repeated = run.spec.get("verify")
    if repeated is None or verdict.status != "succeeded":
        return verdict
    try:
        other = store.runs.get(repeated)
    except NotFound as error:
        found: dict[str, Any] = {"run": repeated, "equal": None, "message": error.message}
    else:
        ours, theirs = dict(verdict.receipt or {}), dict(other.receipt or {})
        differs = {
            name: [theirs.get(name), ours.get(name)]
            for name in sorted(ours.keys() | theirs.keys())
            if name not in _OWN and ours.get(name) != theirs.get(name)
        }
        found = {
            "run": repeated, "equal": other.weights_sha256 == verdict.weights_sha256,
            "expected": other.weights_sha256, "found": verdict.weights_sha256, "receipt_differs": differs,
        }  # fmt: skip
    return replace(verdict, report={**verdict.report, "verify": found})
