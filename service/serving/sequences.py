"""A network asked about rows of any length: those of about one length together, so that little of a pass is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from service.data import padded
from service.engine import Attributed, Network
from service.errors import Fault, TooLarge
from service.specs.artifact import NetworkModel
from service.tensors import Array

_LEAST = 8  # steps of the shortest program
_PASS_NUMBERS = 1 << 22  # of all layers in one pass, about
_MOST_NUMBERS = 1 << 26  # of all layers for one row, about

Ask = Callable[[Network], Network]


class SequenceNetwork:
    """x: (n,) objects, (steps, ...) each -> y: (n, ...); (n,) objects where a layer inside answers at every step.

    A row's answer does not hang on the rows beside it. A program for each power of two of steps is kept, up to the
    longest row of training; for longer rows one is made and let go. Safe to use from several threads.
    """

    def __init__(self, model: NetworkModel, ask: Ask = lambda network: network, *, every_step: bool = False) -> None:
        self._model, self._ask, self._every_step = model, ask, every_step
        self._longest, *self._inner = model.signature.shape
        self._whole = model.bind()
        self._made: dict[int, Network] = {self._longest: ask(self._whole)}
        every = sum(map(self._whole.size, range(len(self.layers))))
        self._numbers = 1 + every // self._longest  # for a step, about

    def __call__(self, x: Array) -> Array:
        """Raises TooLarge for a row of too many steps."""
        lengths = np.fromiter(map(len, x), np.int64, len(x))
        self._check(lengths)
        found: Array | None = None
        for rows, steps in self._passes(lengths):
            y = self._network(steps)(padded(np.concatenate(list(x[rows])), lengths[rows], steps), lengths[rows])
            if found is None:
                found = np.empty(len(x), object) if self._every_step else np.empty((len(x), *y.shape[1:]), y.dtype)
            if self._every_step:
                for at, row in enumerate(rows.tolist()):
                    found[row] = y[at, : lengths[row]]
            else:
                found[rows] = y
        return np.zeros((0, 0), np.float32) if found is None else found

    def _check(self, lengths: Array) -> None:
        most = _MOST_NUMBERS // self._numbers
        faults = [
            Fault(
                f"/rows/{at}", "too_large", f"row {at + 1} (index {at}) has {lengths[at]:,} steps, more than {most:,}"
            )
            for at in np.flatnonzero(lengths > most).tolist()
        ]
        if faults:
            raise TooLarge(faults[0].message, hint="cut the row into pieces", faults=faults)

    def _passes(self, lengths: Array) -> Iterator[tuple[Array, int]]:
        """(which rows, how many steps to pad them to), few enough rows for a pass."""
        steps = np.array([self._steps(length) for length in lengths.tolist()])
        for each in np.unique(steps).tolist():
            rows = np.flatnonzero(steps == each)
            most = max(1, _PASS_NUMBERS // (each * self._numbers))
            for start in range(0, len(rows), most):
                yield rows[start : start + most], each

    def _steps(self, length: int) -> int:
        power = max(_LEAST, 1 << (length - 1).bit_length())
        return min(power, self._longest) if length <= self._longest else power

    def _network(self, steps: int) -> Network:
        made = self._made.get(steps)
        if made is None:
            made = self._ask(self._model.shaped((steps, *self._inner)).bind())
            if steps < self._longest:
                self._made[steps] = made
        return made

    def layer(self, index: int) -> SequenceNetwork:
        """The same weights, answering with what layer `index` gives; of every step of a row where it gives them all."""
        longer = self._model.shaped((self._longest + 1, *self._inner)).bind()
        every_step = longer.size(index) != self._whole.size(index)
        return SequenceNetwork(self._model, lambda network: network.layer(index), every_step=every_step)

    def logits(self) -> SequenceNetwork:
        """The same weights, answering with the numbers that the last softmax or sigmoid takes."""
        return SequenceNetwork(self._model, Network.logits)

    def size(self, index: int) -> int:
        """How many numbers layer `index` gives for the longest row of training."""
        return self._whole.size(index)

    def attribution(self) -> SequenceAttribution:
        """Why it answers so."""
        return SequenceAttribution(self._model)

    @property
    def working_bytes(self) -> int:
        """Memory of the programs that wait for rows, beside the weights."""
        return sum(each.working_bytes for each in list(self._made.values()))

    @property
    def layers(self) -> tuple[str, ...]:
        """The kind of every layer, in order."""
        return self._whole.layers


@dataclass(frozen=True)
class SequenceAttribution:
    """An engine's `Attribution`, of rows of any length."""

    model: NetworkModel

    def of(self, row: Array, baseline: Array, output: int) -> Attributed:
        """What each number of one row adds to the answer; no step of it is padding."""
        model = self.model.shaped(row.shape)
        full = replace(model, signature=replace(model.signature, timed=False))
        return full.bind().attribution().of(row, baseline, output)
