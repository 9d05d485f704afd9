"""Scoring a trained network on rows that come piece by piece, as training scores its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.engine.contract import Array, Signature, Target
from service.engine.evaluate import Evaluator, Tally
from service.engine.feed import Examples
from service.engine.losses import Loss
from service.engine.network import Compiled, NetworkSpec
from service.engine.program import Memory
from service.engine.recipe import Recipe
from service.engine.scores import SCORES, fitting

_NUMBERS = ("mae", "rmse", "r2")


class Assessment:
    """The loss and the metrics of a network over all rows given to `add`."""

    def __init__(
        self, network: NetworkSpec, signature: Signature, weights: Mapping[str, Array], loss: Loss,
        metrics: Sequence[str], dtype: str = "float32", units: Sequence[float] = (),
    ) -> None:  # fmt: skip
        net = Compiled(network, signature, dtype)
        theta, state = net.trained.empty(net.dtype), net.kept.empty(net.dtype)
        net.load(weights, theta, state)
        memory = Memory(theta, theta[:0], state)
        self._evaluator = Evaluator(net, Recipe(network=network, loss=loss), signature, memory, False, units)
        self._tally = Tally(tuple(metrics))

    def add(self, part: Examples) -> None:
        """More rows."""
        self._evaluator.add(part, self._tally)

    def scores(self) -> dict[str, float]:
        """{"loss": ..., and each metric}, of all rows so far; there must be one."""
        return self._evaluator.scores(self._tally)


def usual_metrics(target: Target) -> tuple[str, ...]:
    """What is told of a network when nothing is asked for."""
    return ("accuracy",) if target in ("class", "binary") else _NUMBERS if target == "number" else ("mae",)


def metric_names(target: Target) -> tuple[str, ...]:
    """All metrics that fit a kind of target."""
    return fitting(target)


def better(metric: str, new: float, old: float) -> bool:
    """Whether a figure is better than another; a NaN never is."""
    higher = metric in SCORES and SCORES[metric].higher_is_better
    return new > old if higher else new < old
