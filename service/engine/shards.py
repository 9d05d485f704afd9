"""A batch in fixed shards, worked off in two lanes by one process or two: the same order, the same bits.

A lane is half of the shards and half of the parameters. Both lanes find the gradients of their shards, each adds the
two sums for its half of the parameters, and moves that half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.arena import Arena, common
from service.engine.contract import Array, Signature
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.float_mode import flushing
from service.engine.network import LINE, Compiled
from service.engine.parallel import LANES, Block, Crew, Parted
from service.engine.program import MOST, Memory, Program, Setting
from service.engine.recipe import Recipe
from service.engine.update import bind_update

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


def lane_of(shard: int, shards: int) -> int:
    """The first half of the shards are lane 0's, with the middle one."""
    return int(shard >= (shards + 1) // 2)


def sample_mask(train: Examples, net: Compiled) -> Array | None:
    """(1, 1, time) when places of a sequence can be padding."""
    if train.lengths is None or not net.plan.out.timed:
        return None
    return np.ones((1, 1, net.plan.out.dims[0]), net.dtype)


class Shards(Parted):
    """Blocks of steps of a batch cut in shards. Batch normalisation sees its shard alone, as in PyTorch's DDP; running
    statistics become the mean of the shards'.

    `sums[lane]`: the sum of the gradients of its shards, then of all shards in its half of the parameters;
    `found[shard, :, i]`: losses, right answers and counts of step i; `norms[lane]`: the squared length of its half of
    the gradient. All of it is common to both processes.
    """

    def __init__(
        self, recipe: Recipe, net: Compiled, signature: Signature, train: Examples, memory: Memory,
        slots: Mapping[str, Array],
    ) -> None:  # fmt: skip
        self._recipe, self._net, self._signature, self._train, self._memory = recipe, net, signature, train, memory
        self.batch, self.shards = recipe.training.batch_size, recipe.training.shards or 1
        theta, kept = memory.theta, memory.state
        self._sums = [common(theta.size, theta.dtype) for _ in LANES]
        self._states, self._totals = ([common(kept.size, kept.dtype) for _ in LANES] for _ in range(2))
        self._found, self._norms = common(self.shards * 3 * MOST).reshape(self.shards, 3, MOST), common(len(LANES))
        self._part = np.zeros_like(theta)
        middle = theta.size // 2 // LINE * LINE
        self._halves = slice(0, middle), slice(middle, None)
        self._clips = recipe.optimizer.clip_norm is not None
        self._updates = [
            bind_update(recipe.optimizer, theta[half], self._sums[lane][half],
                        {name: slot[half] for name, slot in slots.items()}, length=self._length)
            for lane, half in zip(LANES, self._halves, strict=True)
        ]  # fmt: skip
        self._constant = recipe.loss.divisors(train.y[:1][None], sample_mask(train, net), net.plan.out) is None
        self._programs: dict[tuple[int, int, int], Program] = {}
        self._layers: dict[tuple[int, int], Arena] = {}

    @property
    def _first(self) -> Program:
        """The program of the longest shard of a whole batch."""
        return self._program(0, shard_sizes(self.batch, self.shards)[0], self.batch)

    @property
    def _steps(self) -> int:
        return self._first.block

    def run(self, indices: Array, epoch: int, place: int, t: int, rates: Sequence[float]) -> Losses:
        """A step for each of `rates` on `indices`; what they came to."""
        self._go(indices, (epoch, place, t, rates))
        return self._losses(indices, len(rates))

    @flushing()
    @stepping()
    def _block(self, indices: Array, block: Block, lanes: tuple[int, ...], crew: Crew | None) -> None:
        epoch, place, t, rates = block
        batches, fed = indices.reshape(len(rates), -1), self._first.fed
        for first in range(0, len(rates), fed):
            some = slice(first, first + fed)
            programs = self._load(batches[some], (epoch, place + first), lanes, first)
            for i, rate in enumerate(rates[some], first):
                for lane in lanes:
                    self._differentiate(lane, programs[lane], i)
                _meet(crew)
                self._move(lanes, crew, t + i + 1, rate, min(self.shards, batches.shape[1]))
                _meet(crew)
        for lane in lanes:
            half = self._halves[lane]
            np.copyto(self._memory.gradient[half], self._sums[lane][half])
            for shard, program in programs[lane]:
                sums = program.read(0, len(rates))
                right = np.zeros(len(rates)) if sums.right is None else sums.right
                self._found[shard, :, : len(rates)] = sums.losses, right, sums.counts
        _meet(crew)

    def _load(
        self, batches: Array, key: tuple[int, int], lanes: tuple[int, ...], slot: int
    ) -> dict[int, list[tuple[int, Program]]]:
        """The programs of each lane's shards, with the input of these steps, the first of which is `slot`."""
        found: dict[int, list[tuple[int, Program]]] = {lane: [] for lane in lanes}
        steps, whole = batches.shape
        sizes, start = shard_sizes(whole, self.shards), 0
        divisors = None if self._constant else [self._divisor(each) for each in batches]
        for shard, rows in enumerate(sizes):
            lane = lane_of(shard, self.shards)
            if lane in lanes:
                program = self._program(shard, rows, whole)
                program.load(self._train, batches[:, start : start + rows].reshape(-1), slot, (*key, shard))
                if divisors is not None:
                    program.divisors[slot : slot + steps] = divisors
                found[lane].append((shard, program))
            start += rows
        return found

    def _program(self, shard: int, rows: int, whole: int) -> Program:
        """Of a shard of `rows` rows in a batch of `whole`."""
        key = shard, rows, whole if self._constant else 0
        if key not in self._programs:
            spec, lane = self._recipe.training, lane_of(shard, self.shards)
            setting = Setting(
                rows, True, spec.seed, whole if self._constant else None, self._train.lengths is not None, False,
                spec.augmentation, shard_sizes(whole, self.shards)[0],
            )  # fmt: skip
            first = shard == 0 or lane_of(shard - 1, self.shards) != lane
            memory = Memory(self._memory.theta, self._sums[lane] if first else self._part, self._states[lane])
            layers = self._layers.setdefault((rows, key[2]), Arena())
            self._programs[key] = Program(
                self._net, self._recipe.loss, self._signature, setting, memory, Arena(), layers
            )
        return self._programs[key]

    def _differentiate(self, lane: int, programs: list[tuple[int, Program]], i: int) -> None:
        state, total = self._states[lane], self._totals[lane]
        if not programs:  # a batch of a single row
            self._sums[lane].fill(0)
        total.fill(0)
        for number, (_, program) in enumerate(programs):
            if state.size:
                np.copyto(state, self._memory.state)
            for step in program.steps.of(i):
                step()
            if number:
                np.add(self._sums[lane], self._part, self._sums[lane])
            if state.size:
                np.add(total, state, total)

    def _move(self, lanes: tuple[int, ...], crew: Crew | None, t: int, rate: float, shards: int) -> None:
        """Half of the parameters for each lane; kept statistics become the mean of the shards'."""
        for lane in lanes:
            half = self._halves[lane]
            mine, other = (self._sums[each][half] for each in (lane, 1 - lane))
            np.add(mine, other, mine)
            if self._clips:
                self._norms[lane] = float(mine.dot(mine))
        if self._clips:
            _meet(crew)
        for lane in lanes:
            self._updates[lane](t, rate)
        if 0 in lanes and self._memory.state.size:
            np.add(self._totals[0], self._totals[1], self._memory.state)
            np.divide(self._memory.state, shards, self._memory.state)

    def _length(self) -> float:
        return math.sqrt(float(self._norms.sum()))

    def _losses(self, indices: Array, steps: int) -> Losses:
        sizes = shard_sizes(len(indices) // steps, self.shards)
        losses, right, counts = (self._found[: len(sizes), j, :steps] for j in range(3))
        divisors = np.array([self._divisor(each) for each in indices.reshape(steps, -1)])
        known = self._recipe.loss.target in ("class", "binary")
        return Losses(_in_order(losses), divisors, _in_order(right) if known else None, _in_order(counts))

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


def _meet(crew: Crew | None) -> None:
    if crew is not None:
        crew.meet()


def _in_order(each: Array) -> Array:
    """The sum over the shards, one after the other."""
    return np.array(np.add.accumulate(each, axis=0)[-1])
