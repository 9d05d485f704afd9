"""Whether a version is better than the one an alias points at: one figure each, on the same stored rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service import tensors
from service.data import Dataset, DatasetSpec
from service.engine import better
from service.errors import Conflict, Fault, InvalidData, InvalidSpec, TooLarge
from service.serving.evaluate import Evaluation, evaluation
from service.specs import Admitted, EvaluateJob, EvaluateSpec, admit
from service.storage import Store

MOST_S = 10.0  # estimated, that a caller is let wait for an evaluation


class IfBetter(BaseModel):
    """The rows and the metric that decide; without a metric the first one usual for such a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: DatasetSpec
    metric: Annotated[str, Field(min_length=1, max_length=100)] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of both versions."""

    metric: str
    dataset_id: str
    new: float | None
    old: float | None

    @property
    def better(self) -> bool:
        """Whether the new one is; equal is not."""
        return self.new is not None and self.old is not None and better(self.metric, self.new, self.old)


def compared(store: Store, new: str, old: str, rule: IfBetter, limit_bytes: int) -> Comparison:
    """Of two models by reference; what an evaluation has found already is not reckoned again.

    Raises InvalidSpec, InvalidData, and Conflict when it would take long and no evaluation has been made.
    """
    metric, dataset, first = _figure(store, new, rule, rule.metric, limit_bytes)
    same_metric, _, second = _figure(store, old, rule, metric, limit_bytes)
    assert metric == same_metric
    return Comparison(metric, dataset, first, second)


def _figure(
    store: Store, ref: str, rule: IfBetter, metric: str | None, limit_bytes: int
) -> tuple[str, str, float | None]:
    """(metric, data set's id, figure)."""
    text = metric is not None and metric.startswith("perplexity")
    asked = EvaluateSpec(
        model=ref, dataset=rule.dataset, metrics=None if metric in (None, "loss") or text else [metric]
    )
    admitted = _admitted(asked, store, limit_bytes)
    spec = EvaluateSpec.model_validate(admitted.spec)
    name = metric or (spec.metrics[0] if spec.metrics else "perplexity")
    for run in reversed(store.runs.evaluations(spec.blob or "")):
        last = run.summary.get(f"test_{name}", {}).get("last")
        if last is not None and run.dataset_id == admitted.dataset_id and run.spec["part"] == spec.part == "all":
            return name, admitted.dataset_id, last["value"]
    if admitted.plan.estimated_seconds > MOST_S:
        hint = (
            f'First evaluate both: POST /v1/jobs {{"type": "evaluate", "spec": {{"model": "{ref}", "dataset": ...}}}}'
        )
        raise Conflict(f"to evaluate {ref} would take about {admitted.plan.estimated_seconds:.0f} s", hint=hint)
    return name, admitted.dataset_id, _now(store, spec, admitted.dataset_id, name)


def _admitted(asked: EvaluateSpec, store: Store, limit_bytes: int) -> Admitted:
    """With every fault at its place in the rule."""
    try:
        return admit(EvaluateJob(type="evaluate", spec=asked), store, limit_bytes)
    except (InvalidSpec, InvalidData, TooLarge) as error:
        error.faults = tuple(replace(fault, pointer=_placed(fault.pointer)) for fault in error.faults)
        raise


def _placed(pointer: str) -> str:
    return re.sub("^/spec/", "/if_better/", re.sub("^/spec/metrics/0", "/spec/metric", pointer))


def _now(store: Store, spec: EvaluateSpec, dataset_id: str, name: str) -> float | None:
    file = tensors.read(store.blobs.path(spec.blob or ""))
    data = Dataset.open(store.blobs.path(store.datasets.get(dataset_id).blob))
    for piece in evaluation(spec, file, data):
        if isinstance(piece, Evaluation):
            if name not in piece.scores:
                message = f"such a model has no metric {name!r}"
                fault = Fault("/if_better/metric", "unknown_word", message, allowed=tuple(piece.scores))
                raise InvalidSpec(message, faults=[fault])
            return piece.scores[name]
    raise AssertionError("an evaluation ends with one")
