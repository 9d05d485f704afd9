"""Scoring a part of the data with the weights as they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Signature
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.losses import CrossEntropy
from service.engine.network import Compiled
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe
from service.engine.scores import FROM_LOSS, SCORES

CHUNK_ROWS = 256


@dataclass
class Tally:
    """What the rows seen so far came to. `answers`, `targets`: all of them, where a score needs them."""

    metrics: tuple[str, ...]
    loss: float = 0.0
    divisor: float = 0.0
    right: float = 0.0
    count: float = 0.0
    nats: float = 0.0
    answers: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)

    @property
    def wanted(self) -> list[str]:
        """The metrics that need all answers."""
        return [name for name in self.metrics if name in SCORES and name != "accuracy"]

    @property
    def likely(self) -> bool:
        """Whether the mean of -log p is asked for."""
        return any(name in FROM_LOSS for name in self.metrics)


class Evaluator:
    """Programs without derivatives on the same vectors; `score` allocates only what the asked scores need."""

    def __init__(
        self, net: Compiled, recipe: Recipe, signature: Signature, memory: Memory, masked: bool,
        units: Sequence[float] = (),
    ) -> None:  # fmt: skip
        self._net, self._loss, self._signature, self._memory, self._masked = net, recipe.loss, signature, memory, masked
        self._streams = recipe.training.batch_size if recipe.training.stateful else 0
        self._programs: dict[int, Program] = {}
        self._units = np.array(units or (1.0,))

    def _program(self, rows: int) -> Program:
        if rows not in self._programs:
            setting = Setting(rows, training=False, masked=self._masked, stateful=self._streams > 0)
            self._programs[rows] = Program(self._net, self._loss, self._signature, setting, self._memory, Arena())
        return self._programs[rows]

    def score(self, part: Examples, metrics: Sequence[str]) -> dict[str, float]:
        """{"loss": mean over the part, and each metric}."""
        tally = Tally(tuple(metrics))
        self.add(part, tally)
        return self.scores(tally)

    @stepping()
    def add(self, part: Examples, tally: Tally) -> None:
        """Puts the part's rows to those that the tally has seen."""
        for indices in self._portions(len(part)):
            program = self._program(len(indices))
            program.load(part, indices, 0)
            for step in program.steps.of(0):
                step()
            sums = program.read(0, 1)
            tally.loss += float(sums.losses[0])
            tally.divisor += float(program.own_divisors(0, 1)[0])
            tally.right += 0.0 if sums.right is None else float(sums.right[0])
            tally.count += float(sums.counts[0])
            if tally.likely:
                nats = CrossEntropy().read(program.evidence[:1], program.y[:1], program.masks(0, 1)).losses
                tally.nats += float(nats[0])
            if tally.wanted:
                tally.answers.append(_valid(program.z, program.masks(0, 1)))
        if tally.wanted:
            tally.targets.append(self._targets(part))

    def scores(self, tally: Tally) -> dict[str, float]:
        """{"loss": mean over all rows seen, and each metric}."""
        found = {"loss": tally.loss / tally.divisor}
        if "accuracy" in tally.metrics:
            found["accuracy"] = tally.right / tally.count
        found |= {name: FROM_LOSS[name](tally.nats / tally.count) for name in tally.metrics if name in FROM_LOSS}
        if tally.wanted:
            said, true = self._answers(tally.answers), np.concatenate(tally.targets)
            if self._loss.target == "number":
                said, true = said * self._units, true * self._units
            found |= {name: SCORES[name].function(said, true) for name in tally.wanted}
        return found

    def _portions(self, rows: int) -> Iterator[Array]:
        """Row numbers of one step after the other; streams are walked through side by side, as in training."""
        if not self._streams:
            for start in range(0, rows, CHUNK_ROWS):
                yield np.arange(start, min(start + CHUNK_ROWS, rows))
            return
        side = min(self._streams, rows)
        steps = rows // side
        for program in self._programs.values():
            program.arena.reset()
        for step in range(steps):
            yield np.arange(side) * steps + step
        if rows % side:
            yield np.arange(side * steps, rows)

    def _answers(self, pieces: list[Array]) -> Array:
        z = np.concatenate(pieces)
        if self._loss.target == "distribution":
            z = np.exp(z - z.max(axis=-1, keepdims=True))
            z /= z.sum(axis=-1, keepdims=True)
        return z

    def _targets(self, part: Examples) -> Array:
        out = self._net.plan.out
        if self._loss.target == "class":
            if part.lengths is None or not out.timed:
                return part.y.reshape(-1)
            return np.asarray(part.y[np.arange(out.dims[0]) < part.lengths[:, None]])
        wide = part.y.reshape(len(part), *out.dims)
        if part.lengths is None or not out.timed:
            return wide.reshape(-1, out.dims[-1])
        return np.asarray(wide[np.arange(out.dims[0]) < part.lengths[:, None]])


def _valid(z: Array, mask: Array | None) -> Array:
    """(examples, k): the valid answers, copied."""
    return np.array(z.reshape(-1, z.shape[-1])) if mask is None else np.array(z[mask[0] > 0])


def finite(scores: dict[str, float]) -> bool:
    """Whether the loss among the scores is a number."""
    return math.isfinite(scores["loss"])
