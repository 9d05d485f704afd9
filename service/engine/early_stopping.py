"""Early stopping, and which weights were the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from service.engine.contract import Spec


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
