"""Early ends of a search's trials: at each rung a trial goes on when it is among the best so far."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from service.specs import Halving, SearchSpec
from service.storage import Run, Store, direction

REASON = "halving"


@dataclass(frozen=True)
class Rungs:
    """Asynchronous successive halving, in its stopping form (Li et al. 2018): nobody waits for the other trials.

    At epoch r = least_epochs factor^k (k = 0, 1, ...) a trial is compared with those of its fold that have come as far:
    with n of them, itself among them, it goes on when fewer than max(1, n // factor) are better.
    """

    store: Store
    others: tuple[str, ...]
    halving: Halving
    monitor: str

    @classmethod
    def of(cls, store: Store, run: Run) -> Rungs | None:
        """None for a run that is no trial, or whose search lets all of them train to the end."""
        job = store.jobs.get(run.job_id) if run.job_id else None
        if job is None or job.type != "search":
            return None
        search = SearchSpec.model_validate_json(json.dumps(job.spec))
        if search.halving is None:
            return None
        folds = search.folds or 1
        fold = job.run_ids.index(run.id) % folds
        others = tuple(each for each in job.run_ids[fold::folds] if each != run.id)
        return cls(store, others, search.halving, search.monitor)

    def ends(self, epoch: int, scores: Mapping[str, float]) -> bool:
        """Whether a trial with these scores should train no longer."""
        if not self._is_rung(epoch) or self.monitor not in scores:
            return False
        sign = -1.0 if direction(self.monitor) == "max" else 1.0
        mine, others = _cost(sign * scores[self.monitor]), self._at(epoch, sign)
        better = sum(other < mine for other in others)
        return len(others) + 1 >= self.halving.factor and better >= max(1, (len(others) + 1) // self.halving.factor)

    def _is_rung(self, epoch: int) -> bool:
        rung = self.halving.least_epochs
        while rung < epoch:
            rung *= self.halving.factor
        return rung == epoch

    def _at(self, epoch: int, sign: float) -> list[float]:
        """What the others had at that epoch, those that came so far."""
        found = self.store.metrics.query(self.others, [self.monitor]).values()
        series = [each[self.monitor].values for each in found if self.monitor in each]
        return [_cost(sign * float(values[epoch - 1])) for values in series if len(values) >= epoch]


def _cost(value: float) -> float:
    return value if math.isfinite(value) else math.inf
