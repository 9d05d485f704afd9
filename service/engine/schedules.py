"""Schedules: the learning rate as a factor of the step; every one may warm up first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from service.engine.contract import Spec

Count = Annotated[int, Field(ge=1, le=2**40)]


@dataclass(frozen=True, slots=True)
class Pace:
    """What a schedule may know: the length of an epoch and of the whole run in steps."""

    steps_per_epoch: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Plateau:
    """Where reduce_on_plateau stands; kept with the training state."""

    factor: float = 1.0
    best: float | None = None
    waited: int = 0


class ScheduleSpec(Spec):
    """Contract of a schedule: a factor for each step, counted from 0; warm-up is linear and comes first."""

    warmup_steps: int = Field(
        default=0, ge=0, le=2**40, description="Steps over which the rate grows linearly to its full height."
    )

    def rate(self, step: int, pace: Pace) -> float:
        """The factor after warm-up; `step` counts from the end of it."""
        return 1.0

    def factor(self, step: int, pace: Pace) -> float:
        """The whole factor of this step: (step + 1) / (warmup_steps + 1) while warming up."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return self.rate(step - self.warmup_steps, pace)

    def after_epoch(self, state: Plateau, value: float) -> Plateau:
        """The state after an epoch whose watched loss was `value`."""
        return state

    @property
    def still(self) -> bool:
        """Whether every step has factor 1."""
        return False


class Constant(ScheduleSpec):
    """factor = 1, after the warm-up that every schedule may begin with (linear, Goyal et al. 2017)."""

    kind: Literal["constant"] = "constant"

    @property
    def still(self) -> bool:
        return self.warmup_steps == 0


class StepDecay(ScheduleSpec):
    """factor = gamma ^ floor(epoch / every_epochs). PyTorch's StepLR."""

    kind: Literal["step"] = "step"
    every_epochs: Count = Field(default=10, description="Epochs between two steps down.")
    gamma: float = Field(default=0.1, gt=0, le=1, description="What the rate is multiplied by.")

    def rate(self, step: int, pace: Pace) -> float:
        return self.gamma ** (step // pace.steps_per_epoch // self.every_epochs)


class Exponential(ScheduleSpec):
    """factor = gamma ^ epoch, changed once an epoch. PyTorch's ExponentialLR."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.95, gt=0, le=1, description="What the rate is multiplied by after every epoch.")

    def rate(self, step: int, pace: Pace) -> float:
        return self.gamma ** (step // pace.steps_per_epoch)


class Cosine(ScheduleSpec):
    """factor = minimum + (1 - minimum) (1 + cos(pi step / total)) / 2. Loshchilov and Hutter 2016, no restarts.

    `total`: the steps of the run after the warm-up.
    """

    kind: Literal["cosine"] = "cosine"
    minimum: float = Field(default=0.0, ge=0, le=1, description="Share of the rate left at the end.")

    def rate(self, step: int, pace: Pace) -> float:
        share = min(1.0, step / max(1, pace.total_steps - self.warmup_steps))
        return self.minimum + (1 - self.minimum) * (1 + math.cos(math.pi * share)) / 2


class ReduceOnPlateau(ScheduleSpec):
    """factor *= gamma when the watched loss has not fallen by `min_delta` (relative) for more than `patience` epochs.

    Watches val_loss, or train_loss without validation rows. As PyTorch's ReduceLROnPlateau, threshold_mode "rel".
    """

    kind: Literal["reduce_on_plateau"] = "reduce_on_plateau"
    gamma: float = Field(default=0.1, gt=0, lt=1, description="What the rate is multiplied by.")
    patience: int = Field(default=10, ge=0, le=100_000, description="Epochs without progress that are borne.")
    min_delta: float = Field(default=1e-4, ge=0, lt=1, description="Least relative progress that counts.")
    minimum: float = Field(default=0.0, ge=0, le=1, description="The factor never falls below this.")

    def after_epoch(self, state: Plateau, value: float) -> Plateau:
        if state.best is None or value < state.best * (1 - self.min_delta):
            return replace(state, best=value, waited=0)
        if state.waited < self.patience:
            return replace(state, waited=state.waited + 1)
        return replace(state, factor=max(self.minimum, state.factor * self.gamma), waited=0)


Schedule = Annotated[Constant | StepDecay | Exponential | Cosine | ReduceOnPlateau, Field(discriminator="kind")]
