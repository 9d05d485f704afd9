"""A program: one network bound to fixed arrays for one batch size; running it allocates nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.arena import Arena, Bits
from service.engine.augmentation import AugmentationSpec, augment, mixes
from service.engine.contract import Array, Signature, Site, Step
from service.engine.feed import Examples, Feed
from service.engine.losses import LossSite, LossSpec, Sums
from service.engine.network import Compiled
from service.engine.randomness import generator
from service.engine.row import RowPlan, bind_row, layouts

BUDGET = 256 * 1024  # bytes of inputs, and of evidence, that wait in the second-level cache
MOST = 64  # steps at most in one block, so that a tiny network still looks up now and then
WORK = 2_000_000_000  # operations at most in a block of several loads: some 20 ms


@dataclass(frozen=True, slots=True)
class Memory:
    """The vectors a program works on; several programs share them."""

    theta: Array
    gradient: Array
    state: Array

    @property
    def sound(self) -> bool:
        """Whether all that is kept is finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(self.theta.sum()) + float(self.state.sum())  # may overflow where no number does
        return math.isfinite(total) or all(np.isfinite(each).all() for each in (self.theta, self.state))


@dataclass(frozen=True, slots=True)
class Setting:
    """What a program is for. `divisor`: rows of the whole batch when the loss divides by a constant, else None.

    `longest`: rows of the longest shard beside this one, which decides how many steps wait at once.
    """

    rows: int
    training: bool
    seed: int = 0
    divisor: int | None = None
    masked: bool = False
    stateful: bool = False
    augmentation: tuple[AugmentationSpec, ...] = ()
    longest: int = 0


def slots_of(row: RowPlan, rows: int, itemsize: int) -> tuple[int, int]:
    """(steps fed at once, steps whose evidence is kept): powers of two by size alone, never by the machine."""
    fed = power_below(BUDGET // max(1, rows * (row.shape.size + row.out.size) * itemsize))
    kept = power_below(BUDGET // max(1, rows * row.out.size * itemsize))
    return fed, max(fed, kept)


def block_of(fed: int, kept: int, step_flops: int) -> int:
    """Steps in one go, a multiple of `fed`: enough to be worth a call, and never long enough to keep anyone waiting."""
    return max(fed, min(kept, power_below(WORK // max(1, step_flops))))


def power_below(n: int) -> int:
    return 1 << (min(max(n, 1), MOST).bit_length() - 1)


class Bound:
    """The work of every slot, bound when it is first asked for: a short training never pays for the slots it leaves.

    The first is bound at once; it registers every array that the others will share.
    """

    def __init__(self, bind: Callable[[int], tuple[Step, ...]], slots: int) -> None:
        self._bind = bind
        self._work: list[tuple[Step, ...] | None] = [None] * slots
        self.of(0)

    def of(self, slot: int) -> tuple[Step, ...]:
        work = self._work[slot]
        if work is None:
            work = self._work[slot] = self._bind(slot)
        return work

    def several(self, first: int, count: int) -> list[tuple[Step, ...]]:
        return [self.of(slot) for slot in range(first, first + count)]


class Program:
    """Training or scoring of `rows` examples a step.

    `steps.of(i)` is the whole work of step i as a row of calls; step i reads input slot i % fed and leaves its evidence
    in slot i. Input is loaded for `fed` steps at once; evidence is read when it suits.
    """

    def __init__(
        self, net: Compiled, loss: LossSpec, feed: Signature, setting: Setting, memory: Memory, arena: Arena,
        layers: Arena | None = None,
    ) -> None:  # fmt: skip
        """`layers`: where layers have their arrays, when programs that never run at once are to share them."""
        self.loss, self.setting, self.arena, rows = loss, setting, arena, setting.rows
        self._layers = layers or arena
        self.row = net.row(loss.absorbs)
        self.fed, self.kept = slots_of(self.row, setting.longest or rows, net.dtype.itemsize)
        self.block = block_of(self.fed, self.kept, 3 * rows * net.plan.flops)
        self.bits = Bits(setting.seed, self.fed)
        layout = layouts(self.row, rows)[0]
        self.feed = Feed(feed, rows, self.fed, layout, net.dtype, arena)
        out = (rows, *self.row.out.dims)
        whole = loss.target == "class"
        self.y = arena.array(
            "program.y", (self.kept, *(out[:-1] if whole else out)), np.intp if whole else net.dtype, rows=rows
        )
        self.evidence = self._ends("evidence", self.kept, out, net)
        self.divisors = np.ones(self.kept, net.dtype)
        elements = loss.elements(self.row.out)
        self.constant = None if setting.divisor is None else float(setting.divisor * elements)
        if self.constant is not None:
            self.divisors[:] = self.constant
        self._encode = loss.encode(out[-1], net.dtype, self.constant) if setting.training else None
        self.t = self.y if self._encode is None else self._ends("t", self.fed, out, net)
        self.partner: Array | None = None
        if self._encode is not None and mixes(setting.augmentation):
            self.partner = arena.array("program.partner", self.y.shape, np.intp, rows=rows)
        self._shares = np.ones(self.kept)
        self._masks(net, rows)
        self.tall = self._tall(out, net)
        self.z = self._ends("z", 1, out, net)[0] if self.tall is None else self.tall[:-1].T
        self.dz = self._ends("dz", 1, out, net)[0] if setting.training else None
        self._rows: dict[int, tuple[tuple[Step, ...], tuple[Step, ...]]] = {}
        self.steps = Bound(partial(self._bind, net, memory), self.kept)

    def _few_classes(self, out: tuple[int, ...]) -> bool:
        """Whether the ends lie class by class in memory."""
        return len(out) == 2 and 1 < out[-1] <= self.loss.columns

    def _tall(self, out: tuple[int, ...], net: Compiled) -> Array | None:
        shape = (out[-1] + 1, out[0])
        return self.arena.array("program.z", shape, net.dtype, rows=out[0]) if self._few_classes(out) else None

    def _ends(self, name: str, slots: int, out: tuple[int, ...], net: Compiled) -> Array:
        """(slots, *out), class by class in memory when that is better for the loss."""
        if self._few_classes(out):
            shape = (slots, out[1], out[0])
            return self.arena.array(f"program.{name}", shape, net.dtype, rows=out[0]).transpose(0, 2, 1)
        return self.arena.array(f"program.{name}", (slots, *out), net.dtype, rows=out[0])

    def _masks(self, net: Compiled, rows: int) -> None:
        self.lengths = self.mask = None
        if self.setting.masked:
            self.lengths = self.arena.array("program.lengths", (self.kept, rows), np.intp, rows=rows)
            if self.row.out.timed:
                shape = (self.kept, rows, self.row.out.dims[0])
                self.mask = self.arena.array("program.mask", shape, net.dtype, rows=rows)

    def _bind(self, net: Compiled, memory: Memory, slot: int) -> tuple[Step, ...]:
        """Without lengths the row depends on the input slot alone, and those who share one share its steps."""
        place = slot % self.fed
        bound = self._rows.get(place)
        if bound is None or self.lengths is not None:
            bound = self._rows[place] = self._bind_row(net, memory, place, slot)
        forward, backward = bound
        return (*forward, self.loss.bind(self._loss_site(slot, place)), *backward)

    def _bind_row(
        self, net: Compiled, memory: Memory, place: int, slot: int
    ) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        setting = self.setting
        self.bits.slot = place
        site = Site(
            rows=setting.rows,
            shape=self.row.shape,
            plan=self.row.parts[-1].plan,
            x=self.feed.views[place],
            y=self.z,
            dx=None,
            dy=self.z if self.dz is None else self.dz,
            ones=self.feed.ones[place],
            theta=net.trained.views(memory.theta),
            gradient=net.trained.views(memory.gradient) if setting.training else {},
            state=net.kept.views(memory.state),
            lengths=None if self.lengths is None else self.lengths[slot],
            training=setting.training,
            stateful=setting.stateful,
            backward=setting.training,
            path="net",
            arena=self._layers,
            bits=self.bits,
        )
        return bind_row(self.row, site)

    def _loss_site(self, slot: int, place: int) -> LossSite:
        return LossSite(
            z=self.z,
            y=self.y[slot],
            t=self.t[slot if self._encode is None else place],
            dz=self.dz,
            mask=None if self.mask is None else self.mask[slot],
            divisor=self.divisors[slot : slot + 1].reshape(()),
            constant=self.constant,
            evidence=self.evidence[slot],
            arena=self._layers,
            tall=self.tall,
        )

    def load(self, source: Examples, indices: Array, slot: int, key: tuple[int, int, int] = (0, 0, 0)) -> int:
        """Rows `indices` become the input of the steps from `slot` on; returns how many steps they fill.

        `key`: (epoch, step, shard), which decides dropped units and augmentation.
        """
        count = len(indices) // self.setting.rows
        self.feed.load(source.x, indices)
        target = self.y[slot : slot + count]
        np.copyto(target, source.y.take(indices, 0).reshape(target.shape), casting="unsafe")
        if self._encode is not None:
            self._encode(target, self.t[:count])
        self.bits.refill(*key)
        self._augment(count, slot, key)
        if self.lengths is not None and source.lengths is not None:
            self.lengths[slot : slot + count] = source.lengths[indices].reshape(count, -1)
            if self.mask is not None:
                steps = np.arange(self.mask.shape[-1])
                self.mask[slot : slot + count] = steps < self.lengths[slot : slot + count, :, None]
        return count

    def _augment(self, count: int, slot: int, key: tuple[int, int, int]) -> None:
        chosen = self.setting.augmentation
        if not chosen:
            return
        random = generator(self.setting.seed, "augmentation", *key)
        for i in range(count):
            t = self.t[i] if self._encode is not None else self.y[slot + i]
            mixed = augment(chosen, self.feed.views[i], t, random)
            if self.partner is not None:
                y = self.y[slot + i]
                self._shares[slot + i] = 1.0 if mixed is None else mixed.share
                self.partner[slot + i] = y if mixed is None else y[mixed.partner]

    def masks(self, first: int, last: int) -> Array | None:
        return None if self.mask is None else self.mask[first:last]

    def own_divisors(self, first: int, last: int) -> Array:
        """What each step's sum is to be divided by when it is a batch of its own, in float64."""
        found = self.loss.divisors(self.y[first:last], self.masks(first, last), self.row.out)
        whole = float(self.setting.rows * self.loss.elements(self.row.out))
        return np.full(last - first, whole) if found is None else found

    def divide(self, first: int, last: int) -> None:
        """Sets the divisors of steps that are batches of their own, where they are not all the same."""
        if self.constant is None:
            self.divisors[first:last] = self.own_divisors(first, last)

    def read(self, first: int, last: int) -> Sums:
        """The sums of steps first..last - 1, from their evidence."""
        found = self.loss.read(self.evidence[first:last], self.y[first:last], self.masks(first, last))
        if self.partner is None:
            return found
        other = self.loss.read(self.evidence[first:last], self.partner[first:last], self.masks(first, last))
        return found.blended(other, self._shares[first:last])
