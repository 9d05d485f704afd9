"""Where a training stands between two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.engine.early_stopping import Best
from service.engine.schedules import Plateau


@dataclass(frozen=True, slots=True)
class Standing:
    """With the vectors it is everything that decides the rest."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    loss: float = 0.0
    divisor: float = 0.0
    right: float = 0.0
    count: float = 0.0
    elapsed_s: float = 0.0
    best: Best = field(default_factory=Best)
    plateau: Plateau = field(default_factory=Plateau)
    stopped_by: str | None = None
