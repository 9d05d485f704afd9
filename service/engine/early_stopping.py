"""Early stopping, and which weights were the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from service.engine.contract import Spec, Target
from service.engine.scores import fitting
from service.errors import Fault, did_you_mean

_BY_STEPS = ("loss", "accuracy")  # of rows trained on: other scores would need a pass over them


class EarlyStopping(Spec):
    """Stops when `monitor` has not got better by `min_delta` for `patience` epochs; the best weights are restored."""

    monitor: str = Field(
        default="val_loss", pattern="^(train|val)_[a-z0-9_]{1,40}$", description="The score watched, of an epoch."
    )
    patience: int = Field(default=5, ge=0, le=1_000_000, description="Epochs without progress that are borne.")
    min_delta: float = Field(default=0.0, ge=0, le=1e9, description="Least progress that counts.")
    restore_best: Literal[True] = Field(default=True, description="Always: the model kept is the best one.")


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch so far. `value` None: none yet."""

    value: float | None = None
    step: int = 0
    waited: int = 0

    def after(self, value: float, step: int, higher_is_better: bool, min_delta: float) -> Best:
        """The record after an epoch; `waited` 0 means this epoch is the best."""
        gain = math.inf if self.value is None else (value - self.value if higher_is_better else self.value - value)
        if math.isfinite(value) and (gain > min_delta or gain == math.inf):
            return Best(value, step, 0)
        return replace(self, waited=self.waited + 1)


def unmeasured(monitor: str, metrics: Sequence[str], target: Target, place: str, field: str) -> Fault | None:
    """The fault at `place` of watching what no epoch of a training tells; `field`: where a score would be asked for."""
    part, _, name = monitor.partition("_")
    told = [each for each in ("loss", *metrics) if part != "train" or each in _BY_STEPS]
    if name in told:
        return None
    known = tuple(f"{part}_{each}" for each in told)
    can_be = name in fitting(target) and (part != "train" or name in _BY_STEPS)
    hint = f"add {name!r} to {field}" if can_be else did_you_mean(monitor, known)
    return Fault(place, "unknown_metric", f"nothing is measured under the name {monitor!r}", hint, known)
