"""What a training tells, in order; the caller pulls, and stops it by pulling no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from service.engine.contract import Array


@dataclass(frozen=True, slots=True)
class Started:
    parameters: int
    steps_per_epoch: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A sign of life, at most every 10 ms. `progress`: 0..1 of the steps planned."""

    step: int
    epoch: int
    progress: float


@dataclass(frozen=True, slots=True)
class Measured:
    """New points: {name: (steps int64, values float64)}."""

    series: dict[str, tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The end of an epoch (counted from 1) and its scores; `step` is the number of steps done."""

    epoch: int
    step: int
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Improved:
    """This epoch's weights are the best so far by `monitor`."""

    step: int
    monitor: str
    value: float


@dataclass(frozen=True, slots=True)
class Warned:
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event. `stopped_by`: epochs, early_stopping, time or steps; `scores`: of the best weights."""

    stopped_by: str
    step: int
    best_step: int
    scores: dict[str, float]


Event: TypeAlias = Started | Tick | Measured | Epoch | Improved | Warned | Finished
