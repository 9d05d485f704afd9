"""Steps of training: the gradient of a batch, then the update; losses read later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Signature
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.float_mode import flushing
from service.engine.halves import Halves
from service.engine.network import Compiled
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe
from service.engine.shards import Losses, Shards, sample_mask
from service.engine.update import bind_update


class Stepper:
    """Runs steps on one set of vectors. What it computes is decided by its arguments alone."""

    def __init__(
        self, recipe: Recipe, net: Compiled, signature: Signature, train: Examples, memory: Memory,
        slots: Mapping[str, Array],
    ) -> None:  # fmt: skip
        self._recipe, self._net, self._signature, self._train = recipe, net, signature, train
        self._memory, self.batch = memory, recipe.training.batch_size
        shards = recipe.training.shards or 1
        parted = Halves if recipe.training.cut == "units" else Shards if shards > 1 else None
        self._parted = None if parted is None else parted(recipe, net, signature, train, memory, slots)
        self._update = bind_update(recipe.optimizer, memory.theta, memory.gradient, slots)
        self._constant = recipe.loss.divisors(train.y[:1][None], sample_mask(train, net), net.plan.out) is None
        self._programs: dict[int, Program] = {}
        self._waiting: tuple[Program, int] | None = None
        self._read: list[Losses] = []

    def man(self, processes: int) -> None:
        """Works with so many processes from now on, where the work is cut."""
        if self._parted is not None:
            self._parted.man(processes)

    def program(self, rows: int) -> Program:
        """The program of a batch of `rows` rows."""
        if rows not in self._programs:
            spec = self._recipe.training
            setting = Setting(
                rows,
                True,
                spec.seed,
                rows if self._constant else None,
                self._train.lengths is not None,
                spec.stateful,
                spec.augmentation,
            )
            self._programs[rows] = Program(
                self._net, self._recipe.loss, self._signature, setting, self._memory, Arena()
            )
        return self._programs[rows]

    def prepare(self) -> None:
        """Binds the program that carries something from step to step, so that `carries` knows of it."""
        if self._parted is None:
            self.program(self.batch)

    def block(self, left: int) -> int:
        """How many steps to run before looking up, when `left` rows of the epoch are left."""
        if self._parted is not None:
            return self._parted.block(left)
        whole = left // self.batch
        return min(whole, self.program(self.batch).block) if whole else 1

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
        if self._parted is not None:
            self._read.append(self._parted.run(indices, epoch, place, t, rates))
            return
        rows = min(self.batch, len(indices))
        program = self.program(rows)
        slot = self._room(program, len(rates))
        for first in range(0, len(rates), program.fed):
            some = rates[first : first + program.fed]
            self._load(program, indices[first * rows : (first + len(some)) * rows], slot, (epoch, place + first, 0))
            for steps, rate in zip(program.steps.several(slot, len(some)), some, strict=True):
                for step in steps:
                    step()
                t += 1
                self._update(t, rate)
            slot += len(some)

    def _load(self, program: Program, indices: Array, slot: int, key: tuple[int, int, int]) -> None:
        last = slot + program.load(self._train, indices, slot, key)
        program.divide(slot, last)

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
