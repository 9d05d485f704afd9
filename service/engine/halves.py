"""A batch worked off by two lanes, each with half of the units of every dense layer: one process or two, the same bits.

Unlike shards, lanes exchange sums of activations instead of gradients, and each moves its own weights: for batches of
some hundred rows that is a tenth of the traffic. A lane has its own copies of its part of the vectors while a block of
steps runs; before and after it, the training's vectors are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Signature, Step
from service.engine.cut import Half, Joining, halves, roles
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.float_mode import flushing
from service.engine.network import Compiled
from service.engine.parallel import Block, Crew, Parted
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe
from service.engine.shards import Losses
from service.engine.update import bind_update

Segments: TypeAlias = list[tuple[Step, ...]]
"""A step's work, cut where the lanes must have met."""


class Lane:
    """One lane's network, vectors and programs."""

    def __init__(
        self, half: Half, recipe: Recipe, net: Compiled, signature: Signature, train: Examples, memory: Memory,
        slots: Mapping[str, Array], ends: Arena,
    ) -> None:  # fmt: skip
        """`ends`: where the lanes of one process have the input and the targets in common."""
        self._recipe, self._signature, self._train = recipe, signature, train
        self._ends, self._layers = ends, Arena()
        self._net = Compiled(half.layers, signature, recipe.dtype)
        theta, gradient, *rest = (self._vector(name) for name in ("theta", "gradient", *slots))
        self._memory = Memory(theta, gradient, np.zeros(0, theta.dtype))
        mine = dict(zip(slots, rest, strict=True))
        self._taken = self._pairs(half, net, [(theta, memory.theta), *((mine[name], slots[name]) for name in slots)])
        self._found = self._pairs(half, net, [(gradient, memory.gradient)])
        self.update = bind_update(recipe.optimizer, theta, gradient, mine)
        self._programs: dict[int, tuple[Program, dict[int, Segments]]] = {}

    def _vector(self, name: str) -> Array:
        return self._layers.array(f"lane.{name}", (self._net.trained.size,), self._net.dtype)

    def _pairs(
        self, half: Half, net: Compiled, vectors: Sequence[tuple[Array, Array]]
    ) -> list[tuple[Array, Array, bool]]:
        """(the lane's array, the whole one's part, whether the other lane has the same) in each pair of vectors."""
        found = []
        for mine, whole in vectors:
            own, all_ = self._net.trained.views(mine), net.trained.views(whole)
            found += [(own[each.mine], all_[each.whole][each.index], each.shared) for each in half.shares]
        return found

    def take(self) -> None:
        """The training's vectors become the lane's."""
        for mine, whole, _ in self._taken:
            np.copyto(mine, whole)

    def give(self, lane: int) -> None:
        """And the other way round, the gradient too; what both lanes have, the first one gives."""
        for mine, whole, shared in (*self._taken, *self._found):
            if lane == 0 or not shared:
                np.copyto(whole, mine)

    def program(self, rows: int) -> Program:
        """The program of a batch of `rows` rows."""
        return self._bound(rows)[0]

    def segments(self, rows: int, slot: int) -> Segments:
        """What is to be done in this slot."""
        program, known = self._bound(rows)
        if slot not in known:
            steps = program.steps.of(slot)
            meetings = [i for i, step in enumerate(steps) if isinstance(step, Joining)]
            known[slot] = [steps[a:b] for a, b in zip([0, *meetings], [*meetings, len(steps)], strict=True)]
        return known[slot]

    def _bound(self, rows: int) -> tuple[Program, dict[int, Segments]]:
        if rows not in self._programs:
            spec, loss = self._recipe.training, self._recipe.loss
            constant = loss.divisors(self._train.y[:1][None], None, self._net.plan.out) is None
            setting = Setting(rows, True, spec.seed, rows if constant else None, augmentation=spec.augmentation)
            ends, layers = self._ends, self._layers
            program = Program(self._net, loss, self._signature, setting, self._memory, ends, layers)
            self._programs[rows] = program, {}
        return self._programs[rows]


class Halves(Parted):
    """Blocks of steps of a network cut by units."""

    def __init__(
        self, recipe: Recipe, net: Compiled, signature: Signature, train: Examples, memory: Memory,
        slots: Mapping[str, Array],
    ) -> None:  # fmt: skip
        self._train, self.batch = train, recipe.training.batch_size
        both, self._exchange = halves(net.plan, roles(net.plan) or (), self.batch, net.dtype)
        ends = Arena()
        self._lanes = [Lane(half, recipe, net, signature, train, memory, slots, ends) for half in both]
        self._fresh: set[int] = set()  # lanes whose copies are as the training's vectors: nobody else moves those

    def man(self, processes: int) -> None:
        """As told there; what the other process had is not this one's."""
        if processes < 2 and self._crew is not None:
            self._fresh.discard(1)
        super().man(processes)

    @property
    def _steps(self) -> int:
        return self._lanes[0].program(self.batch).block

    def run(self, indices: Array, epoch: int, place: int, t: int, rates: Sequence[float]) -> Losses:
        """A step for each of `rates` on `indices`; what they came to."""
        self._go(indices, (epoch, place, t, rates))
        program = self._lanes[0].program(len(indices) // len(rates))
        sums = program.read(0, len(rates))
        return Losses(sums.losses, program.own_divisors(0, len(rates)), sums.right, sums.counts)

    @flushing()
    @stepping()
    def _block(self, indices: Array, block: Block, lanes: tuple[int, ...], crew: Crew | None) -> None:
        epoch, place, t, rates = block
        batches = indices.reshape(len(rates), -1)
        rows = batches.shape[1]
        working = [self._lanes[lane] for lane in lanes]
        for lane, each in zip(lanes, working, strict=True):
            if lane not in self._fresh:
                each.take()
        self._fresh |= set(lanes)
        fed = working[0].program(rows).fed
        for first in range(0, len(rates), fed):
            self._load(
                [each.program(rows) for each in working], batches[first : first + fed], first, (epoch, place + first, 0)
            )
            for slot, rate in enumerate(rates[first : first + fed], first):
                self._step(working, rows, slot, crew)
                for each in working:
                    each.update(t + slot + 1, rate)
        for lane, each in zip(lanes, working, strict=True):
            each.give(lane)
        if crew is not None:
            crew.meet()

    def _load(self, programs: list[Program], batches: Array, slot: int, key: tuple[int, int, int]) -> None:
        """Input and targets are loaded once, for they are the same memory; each has random bits of its own."""
        first, last = programs[0], slot + len(batches)
        first.load(self._train, batches.reshape(-1), slot, key)
        for each in programs:
            if each is not first:
                each.bits.refill(*key)
            each.divide(slot, last)

    def _step(self, working: list[Lane], rows: int, slot: int, crew: Crew | None) -> None:
        self._exchange.turn = slot % 2
        work = [each.segments(rows, slot) for each in working]
        for number in range(len(work[0])):
            if number and crew is not None:
                crew.meet()
            for segments in work:
                for step in segments[number]:
                    step()
