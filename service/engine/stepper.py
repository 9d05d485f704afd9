"""Steps of training: the gradient of a batch, shard by shard in fixed order, then the update; losses read later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.arena import Arena
from service.engine.contract import Array, Signature
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.float_mode import flushing
from service.engine.network import Compiled
from service.engine.optimizers import Update
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Losses:
    """What consecutive steps came to, one number a step; the mean loss of a step is sums / divisors."""

    sums: Doubles
    divisors: Doubles
    right: Doubles | None
    counts: Doubles


def shard_sizes(rows: int, shards: int) -> list[int]:
    """Rows of each shard of a batch: as equal as can be, the longer ones first; none is empty."""
    return [size for k in range(shards) if (size := rows // shards + (k < rows % shards))]


class Stepper:
    """Runs steps on one set of vectors. What it computes is decided by its arguments alone."""

    def __init__(
        self, recipe: Recipe, net: Compiled, signature: Signature, train: Examples, memory: Memory, update: Update
    ) -> None:
        self._recipe, self._net, self._signature, self._train = recipe, net, signature, train
        self._memory, self._update = memory, update
        self.batch, self.shards = recipe.training.batch_size, recipe.training.shards or 1
        self._part = memory.gradient if self.shards == 1 else net.trained.empty(net.dtype)
        self._constant = recipe.loss.divisors(train.y[:1][None], self._sample_mask(), net.plan.out) is None
        self._programs: dict[tuple[int, int], Program] = {}
        self._waiting: tuple[Program, int] | None = None
        self._read: list[Losses] = []

    def _sample_mask(self) -> Array | None:
        if self._train.lengths is None or not self._net.plan.out.timed:
            return None
        return np.ones((1, 1, self._net.plan.out.dims[0]), self._net.dtype)

    def program(self, rows: int, whole: int) -> Program:
        """The program of a shard of `rows` rows in a batch of `whole`."""
        divisor = whole if self._constant else None
        key = rows, divisor or 0
        if key not in self._programs:
            spec = self._recipe.training
            setting = Setting(
                rows, True, spec.seed, divisor, self._train.lengths is not None, spec.stateful, spec.augmentation
            )
            memory = Memory(self._memory.theta, self._part, self._memory.state)
            self._programs[key] = Program(self._net, self._recipe.loss, self._signature, setting, memory, Arena())
        return self._programs[key]

    def block(self, left: int) -> int:
        """How many steps to run before looking up, when `left` rows of the epoch are left."""
        whole = left // self.batch
        if self.shards > 1 or not whole:
            return 1
        return min(whole, self.program(self.batch, self.batch).fed)

    @property
    def carries(self) -> dict[str, Array]:
        """What recurrent layers carry from step to step, by name."""
        return {name: carry for each in self._programs.values() for name, carry in each.arena.carries.items()}

    def begin_epoch(self) -> None:
        """What is carried from step to step begins anew."""
        for program in self._programs.values():
            program.arena.reset()

    @flushing()
    @stepping()
    def run(self, indices: Array, epoch: int, place: int, t: int, rates: Sequence[float]) -> None:
        """A step for each of `rates` on `indices`. `place`: the first one's number in its epoch; `t`: steps done."""
        if self.shards > 1:
            self._gather(indices, epoch, place)
            self._update(t + 1, rates[0])
            return
        rows = min(self.batch, len(indices))
        program = self.program(rows, rows)
        slot = self._room(program, len(rates))
        program.load(self._train, indices, slot, (epoch, place, 0))
        if program.constant is None:
            program.divisors[slot : slot + len(rates)] = program.own_divisors(slot, slot + len(rates))
        update = self._update
        for steps, rate in zip(program.steps.several(slot, len(rates)), rates, strict=True):
            for step in steps:
                step()
            t += 1
            update(t, rate)

    def _room(self, program: Program, count: int) -> int:
        """The first free slot of evidence; reads what waits when there is no room for these steps."""
        held, slot = self._waiting or (program, 0)
        if held is not program or slot % program.fed or slot + count > program.kept:
            self._settle()
            slot = 0
        self._waiting = program, slot + count
        return slot

    def _settle(self) -> None:
        if self._waiting is not None:
            program, last = self._waiting
            sums = program.read(0, last)
            self._read.append(Losses(sums.losses, program.own_divisors(0, last), sums.right, sums.counts))
            self._waiting = None

    def _gather(self, indices: Array, epoch: int, place: int) -> None:
        """The gradient of one batch, shard k after shard k - 1; kept statistics become the mean of the shards'."""
        memory, state, start = self._memory, self._memory.state.copy(), 0
        states, found = np.zeros_like(state), []
        divisor = self._divisor(indices)
        for shard, rows in enumerate(shard_sizes(len(indices), self.shards)):
            program = self.program(rows, len(indices))
            np.copyto(memory.state, state)
            program.load(self._train, indices[start : start + rows], 0, (epoch, place, shard))
            program.divisors[0] = divisor
            for step in program.steps.of(0):
                step()
            found.append(program.read(0, 1))
            states += memory.state
            np.copyto(memory.gradient, self._part) if shard == 0 else np.add(
                memory.gradient, self._part, memory.gradient
            )
            start += rows
        np.divide(states, len(found), memory.state)
        right = None if found[0].right is None else sum(each.right for each in found if each.right is not None)
        losses, counts = sum(each.losses for each in found), sum(each.counts for each in found)
        self._read.append(Losses(np.asarray(losses), np.array([divisor]), right, np.asarray(counts)))  # type: ignore[arg-type]

    def _divisor(self, indices: Array) -> float:
        """What the sum of losses of this whole batch is divided by."""
        loss, out = self._recipe.loss, self._net.plan.out
        if self._constant:
            return float(len(indices) * loss.elements(out))
        mask = None
        if self._train.lengths is not None and out.timed:
            mask = (np.arange(out.dims[0]) < self._train.lengths[indices][:, None])[None].astype(self._net.dtype)
        found = loss.divisors(self._train.y[indices][None], mask, out)
        return float(len(indices) * loss.elements(out)) if found is None else float(found[0])

    @np.errstate(all="ignore")
    def drain(self) -> Losses | None:
        """What the steps since the last call came to, or None; reading early or late changes no bit."""
        self._settle()
        read, self._read = self._read, []
        if not read:
            return None
        right = (
            None if read[0].right is None else np.concatenate([each.right for each in read if each.right is not None])
        )
        return Losses(
            np.concatenate([each.sums for each in read]),
            np.concatenate([each.divisors for each in read]),
            right,
            np.concatenate([each.counts for each in read]),
        )
