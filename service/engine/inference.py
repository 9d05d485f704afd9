"""A trained network to ask: many threads at once, a program for each size of batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from contextvars import Context
from copy import copy

import numpy as np

from service.engine.answers import ENDS, Answers, bind_answers, ended
from service.engine.attribution import Attribution
from service.engine.contract import Array, Signature
from service.engine.fast import BUFFER
from service.engine.losses import LossSpec
from service.engine.mapped import mapped_row, mapped_weights
from service.engine.network import Compiled, NetworkSpec
from service.engine.row import RowPlan
from service.engine.stream import Stream

LARGEST = 256  # rows of the largest program; more rows are answered in portions


class Network:
    """network(x) -> y for raw rows as the signature says; the last activation is applied.

    `loss`: when the network ends linear, the activation its loss implies is added (probabilities instead of logits).
    """

    def __init__(
        self, spec: NetworkSpec, signature: Signature, outputs: int, weights: Mapping[str, Array],
        loss: LossSpec | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        self._net = Compiled(spec, signature, dtype)
        self.signature, self.outputs = signature, outputs
        self._shape = tuple(signature.shape)
        self._spec, self._loss, self._weights = spec, loss, weights
        self._mapped = mapped_weights(self._net.plan, weights, self._net.dtype)
        self._vectors = theta, state = self._filled(self._mapped)
        self._row = mapped_row(ended(self._net, loss), self._mapped)
        self._free: dict[int, deque[_Answering]] = {}
        self.nbytes = theta.nbytes + state.nbytes

    def _filled(self, without: Collection[str] = ()) -> tuple[Array, Array]:
        """The vectors (theta, state); memory of what is left out is never touched, and so costs nothing."""
        theta, state = self._net.trained.empty(self._net.dtype), self._net.kept.empty(self._net.dtype)
        self._net.load(self._weights, theta, state, without)
        return theta, state

    def __call__(self, x: Array, lengths: Array | None = None) -> Array:
        """x: (n, *shape) raw, y: (n, ...). Raises ValueError when the shape is another."""
        rows = len(x)
        if x.shape[1:] != self._shape:
            raise ValueError(f"rows of shape {list(x.shape[1:])}, not {list(self.signature.shape)}")
        if rows <= LARGEST:
            return self._some(x, lengths, rows)
        starts = range(0, rows, LARGEST)
        parts = [self._some(x[i : i + LARGEST], None if lengths is None else lengths[i : i + LARGEST],
                            min(LARGEST, rows - i)) for i in starts]  # fmt: skip
        return np.concatenate(parts)

    def _some(self, x: Array, lengths: Array | None, rows: int) -> Array:
        size = bucket(rows)
        free = self._free.get(size)
        if free is None:
            free = self._free.setdefault(size, deque())
        try:
            program = free.pop()
        except IndexError:
            program = _Answering(self, size)
        answer = program(x, lengths, rows)
        free.append(program)
        return answer

    def layer(self, index: int) -> Network:
        """The same weights, answering with what layer `index` gives: (n, *its shape)."""
        return self._ending(self._net.upto(index))

    def logits(self) -> Network:
        """The same weights, answering with the numbers that the last softmax or sigmoid takes."""
        return self._ending(self._net.row(ENDS))

    def size(self, index: int) -> int:
        """How many numbers layer `index` gives for a row."""
        return self._net.upto(index).out.size

    def _ending(self, row: RowPlan) -> Network:
        other = copy(self)
        other._row, other._free = mapped_row(row, self._mapped), {}
        return other

    @property
    def working_bytes(self) -> int:
        """Memory of the programs that wait for rows, beside the weights."""
        return sum(each.nbytes for free in list(self._free.values()) for each in list(free))

    @property
    def layers(self) -> tuple[str, ...]:
        """The kind of every layer, in order."""
        return tuple(each.kind for each in self._spec.layers)

    def attribution(self) -> Attribution:
        """Why it answers so, in float64 and memory of its own. Raises InvalidSpec for rows of ids, TooLarge."""
        return Attribution(self._spec, self.signature, self._weights, self._loss)

    def stream(self) -> Stream:
        """The same network step by step, carrying its state. Raises InvalidSpec when it cannot be walked so."""
        return Stream(self._spec, self.signature, self._filled(), self._loss, self._net.dtype.name)

    def bind(self, rows: int) -> Answers:
        """A new program for so many rows."""
        return bind_answers(self._net, self._row, self.signature, self._vectors, rows, None, self._mapped)


def bucket(rows: int) -> int:
    """The program that answers so many rows: exact up to 4, then the next power of two."""
    return rows if rows <= 4 else 1 << (rows - 1).bit_length()


class _Answering:
    """One program of a network, used by one thread at a time."""

    def __init__(self, network: Network, rows: int) -> None:
        bound = network.bind(rows)
        self._feed, self._lengths, self._y, self._steps = bound.feed, bound.lengths, bound.y, bound.steps
        self.nbytes = bound.nbytes
        self._context = Context()  # NumPy's settings live in it: entering it is far less than setting them
        self._context.run(np.seterr, all="ignore")
        self._context.run(np.setbufsize, BUFFER)

    def __call__(self, x: Array, lengths: Array | None, rows: int) -> Array:
        self._feed.put(x)
        if lengths is not None:
            self._lengths[:rows] = lengths
        self._context.run(self._pass)
        return self._y[:rows].copy()

    def _pass(self) -> None:
        for step in self._steps:
            step()
