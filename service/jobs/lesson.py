"""One attempt's training: every event told, the state and the best weights kept, the model and findings at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np

from service import engine
from service.clock import monotonic_s, processor_s
from service.data import Prepared, Preprocessor
from service.engine import Epoch, Finished, Improved, Measured, Signature, Started, Tick, Training, Warned
from service.jobs import receipt
from service.jobs.reporter import Snapshot
from service.jobs.rungs import REASON, Rungs
from service.jobs.verdict import GivenBack, Verdict, Work
from service.serving import findings
from service.specs import TrainSpec, artifact, examples_of
from service.specs.artifact import NetworkModel
from service.storage import StoppedBy

_NEWS_S = 0.2  # at most one event of an epoch, and one published model, in so long


@dataclass
class Lesson:
    """One attempt's training, and what of it is still to be told."""

    work: Work
    spec: TrainSpec
    prepared: Prepared
    signature: Signature
    training: Training
    rungs: Rungs | None = None
    warnings: list[str] = field(default_factory=list)
    _began_s: float = field(default_factory=monotonic_s)
    _began_at: float | None = None  # the progress with which this attempt began
    _told_s: float = float("-inf")
    _saved_s: float = field(default_factory=monotonic_s)
    _saved_step: int = 0
    _cost_s: float = 0.0
    _better: Improved | None = None  # a model that is not published yet
    _published_s: float = float("-inf")

    def learn(self) -> Finished | None:
        """To the end, or to a cancel (None). Raises GivenBack with the state published."""
        reporter = self.work.reporter
        reporter.tell(phase="training")
        step = 0
        for event in self.training:
            if isinstance(event, Finished):
                self._save(event.step)  # for whoever wants to train longer
                return event
            step = getattr(event, "step", step)
            self._hear(event)
            ask = reporter.asked()
            if ask == "cancel":
                return None
            if ask is not None:
                self._save(step)
                raise GivenBack(ask)
            self._save_when_due(step)
        raise RuntimeError("the training ended without its last event")

    def _hear(self, event: engine.Event) -> None:
        tell = self.work.reporter.tell
        match event:
            case Tick(step, _, _):
                tell(step=step, **self._progress(step))
            case Measured(series):
                tell(series=series)
            case Started(parameters, steps_per_epoch, total_steps):
                self._began_at, self._began_s = 0.0, monotonic_s()
                shape = {"parameters": parameters, "steps_per_epoch": steps_per_epoch, "total_steps": total_steps}
                tell(events=[("training", shape)])
            case Epoch(epoch, step, scores):
                news = self._news("epoch", {"epoch": epoch, "step": step, "scores": scores})
                tell(step=step, events=news, **self._progress(step))
                if self.rungs is not None and self.rungs.ends(epoch, scores):
                    tell(events=[("halved", {"epoch": epoch, "step": step})])
                    self.training.end(REASON)
            case Improved():
                self._better = event
            case Warned(message):
                self.warnings.append(message)
                tell(events=[("warning", {"message": message})])

    def _news(self, kind: str, data: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """One event, unless the last one was a moment ago: epochs of a millisecond would bury all others."""
        now = monotonic_s()
        if now - self._told_s < _NEWS_S:
            return []
        self._told_s = now
        return [(kind, data)]

    def _progress(self, step: int) -> dict[str, Any]:
        """How far, and how long at the pace of this attempt."""
        progress = step / self.training.total_steps
        if self._began_at is None:
            self._began_at = progress
        done = progress - self._began_at
        eta_s = (monotonic_s() - self._began_s) / done * (1 - progress) if done > 0 else None
        return {"progress": progress, "eta_s": eta_s}

    def _save_when_due(self, step: int) -> None:
        """The state every `checkpoint_s` seconds, less often when that costs much; the best model as it appears.

        When both are due, the one that waits longer: a slow disk must not keep either from ever being written.
        """
        if self.work.reporter.busy:
            return
        now = monotonic_s()
        due_s = self._saved_s + max(self.work.settings.checkpoint_s, 50 * self._cost_s)
        better = self._better if now - self._published_s >= _NEWS_S else None
        if now >= due_s and step > self._saved_step and not (better and self._published_s < self._saved_s):
            self._save(step)
        elif better:
            self._publish_best(better, now)

    def _publish_best(self, better: Improved, now_s: float) -> None:
        self._better, self._published_s = None, now_s
        reporter, model = self.work.reporter, self.model({better.monitor: better.value})
        reporter.tell(events=[("improved", {"step": better.step, better.monitor: better.value})])
        reporter.publish(Snapshot("model", better.step, model.facts["weights_sha256"], *artifact.pack(model)))

    def _save(self, step: int) -> None:
        began_s = processor_s()
        arrays, meta = self.training.state()
        metadata = {"kind": "state", "state": json.dumps(meta)}
        digest = self.training.weights_sha256(best=False)
        self.work.reporter.publish(Snapshot("state", step, digest, arrays, metadata))
        self._saved_s, self._saved_step, self._cost_s = monotonic_s(), step, processor_s() - began_s

    def model(self, scores: Mapping[str, float]) -> NetworkModel:
        """The best weights so far, with all that serving them takes."""
        digest = self.training.weights_sha256()
        return NetworkModel(
            network=self.spec.network, signature=self.signature, outputs=self.prepared.outline.outputs,
            loss=self.training.recipe.loss, dtype=self.spec.dtype, preprocessor=self.prepared.preprocessor,
            facts={"run_id": self.work.run.id, "weights_sha256": digest, "scores": dict(scores)},
            weights=self.training.weights(),
        )  # fmt: skip

    def cancelled(self) -> Verdict:
        """The verdict of a training that was told to end; what it has learned stays usable."""
        model = self.model({})
        digest = model.facts["weights_sha256"]
        return Verdict("cancelled", stopped_by="user", model=artifact.pack(model), weights_sha256=digest)

    def succeeded(self, finished: Finished, dataset_sha256: str) -> Verdict:
        """The verdict of a training that came to its end: model, findings, receipt."""
        tell, at = self.work.reporter.tell, np.array([finished.step])
        tested = {name: (at, np.array([value])) for name, value in finished.scores.items()}
        tell(series=tested, step=finished.step, phase="evaluating", progress=1.0)
        model, chosen = self.model(finished.scores), self.training.recipe.training
        report = {
            "scores": finished.scores, "best_step": finished.best_step, "stopped_by": finished.stopped_by,
            "warnings": [*self.prepared.warnings, *self.warnings], **self._findings(model),
            "diagnostics": self._diagnostics(),
        }  # fmt: skip
        tell(phase="saving")
        return Verdict(
            "succeeded", stopped_by=cast("StoppedBy", finished.stopped_by), model=artifact.pack(model),
            weights_sha256=model.facts["weights_sha256"], report=report,
            receipt=receipt.of(self.work.run.spec, dataset_sha256, chosen.shards or 1, chosen.cut or "rows"),
        )  # fmt: skip

    def _diagnostics(self) -> dict[str, Any] | None:
        """Of the best weights on some rows of training; None when there is no memory left for it."""
        training, rows = self.training, examples_of(self.prepared.train)
        outputs, weights = self.prepared.outline.outputs, training.weights()
        with suppress(MemoryError):
            return asdict(engine.diagnose(training.recipe, self.signature, outputs, weights, rows))
        return None

    def _findings(self, model: NetworkModel) -> dict[str, Any]:
        for name, part in (("test", self.prepared.test), ("validation", self.prepared.validation)):
            if part is not None and len(part.x):
                classes, units = self.prepared.outline.classes, self.prepared.preprocessor
                told = units.answers if isinstance(units, Preprocessor) else None
                return findings(model.bind(), part, model.loss.target, classes, name, told)
        return {}
