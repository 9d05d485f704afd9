"""Losses: what training makes small; each is one class and its line in the union."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.engine.losses.binary import BinaryCrossEntropy, Hinge
from service.engine.losses.contract import LossSite, LossSpec, Sums
from service.engine.losses.distributions import CrossEntropy, KlDivergence
from service.engine.losses.numbers import AbsoluteError, Huber, SquaredError

Loss = Annotated[
    SquaredError | AbsoluteError | Huber | BinaryCrossEntropy | Hinge | CrossEntropy | KlDivergence,
    Field(discriminator="kind"),
]

__all__ = ["CrossEntropy", "Loss", "LossSite", "LossSpec", "SquaredError", "Sums"]
