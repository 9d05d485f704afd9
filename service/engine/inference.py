"""A trained network to ask: many threads at once, a program for each size of batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from service.engine.arena import Arena, Bits
from service.engine.contract import Array, Signature, Site, Step
from service.engine.feed import Feed
from service.engine.layers import LogSoftmax, Sigmoid, Softmax
from service.engine.losses import LossSpec
from service.engine.network import Compiled, NetworkSpec, kind_of
from service.engine.row import RowPlan, bind_row, fuse, layouts, plan_row

LARGEST = 256  # rows of the largest program; more rows are answered in portions
_ENDS = {"softmax": Softmax(), "sigmoid": Sigmoid(), "log_softmax": LogSoftmax()}


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
        self._theta, self._state = self._net.trained.empty(self._net.dtype), self._net.kept.empty(self._net.dtype)
        self._net.load(weights, self._theta, self._state)
        self._row = _ended(self._net, loss)
        self._free: dict[int, deque[_Answering]] = {}
        self.nbytes = self._theta.nbytes + self._state.nbytes

    def __call__(self, x: Array, lengths: Array | None = None) -> Array:
        """x: (n, *shape) raw, y: (n, ...). Raises ValueError when the shape is another."""
        rows = len(x)
        if x.shape[1:] != tuple(self.signature.shape):
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

    def bind(self, rows: int) -> tuple[Feed, Array, Array, tuple[Step, ...]]:
        """(feed, lengths, y, steps) of a new program for so many rows."""
        net, row, arena = self._net, self._row, Arena()
        feed = Feed(self.signature, rows, 1, layouts(row, rows)[0], net.dtype, arena)
        y = arena.array("y", (rows, *row.out.dims), net.dtype)
        lengths = np.full(rows, row.shape.dims[0] if row.shape.dims else 1, np.intp)
        site = Site(
            rows=rows,
            shape=row.shape,
            plan=row.parts[-1].plan,
            x=feed.views[0],
            y=y,
            dx=None,
            dy=y,
            ones=feed.ones[0],
            theta=net.trained.views(self._theta),
            gradient={},
            state=net.kept.views(self._state),
            lengths=lengths if row.shape.timed else None,
            training=False,
            stateful=False,
            backward=False,
            path="net",
            arena=arena,
            bits=Bits(0, 1),
        )
        return feed, lengths, y, bind_row(row, site)[0]


def bucket(rows: int) -> int:
    """The program that answers so many rows: exact up to 4, then the next power of two."""
    return rows if rows <= 4 else 1 << (rows - 1).bit_length()


class _Answering:
    """One program of a network, used by one thread at a time."""

    def __init__(self, network: Network, rows: int) -> None:
        self._feed, self._lengths, self._y, self._steps = network.bind(rows)

    def __call__(self, x: Array, lengths: Array | None, rows: int) -> Array:
        self._feed.put(x)
        if lengths is not None:
            self._lengths[:rows] = lengths
        with np.errstate(all="ignore"):
            for step in self._steps:
                step()
        return self._y[:rows].copy()


def _ended(net: Compiled, loss: LossSpec | None) -> RowPlan:
    row = net.row()
    last = net.plan.parts[-1]
    if loss is None or loss.finish is None or kind_of(last.layer) in loss.absorbs or not last.plan.parameters:
        return row
    end = plan_row([_ENDS[loss.finish]], net.plan.out)
    return fuse(RowPlan((*net.plan.parts, *end.parts), net.plan.shape, end.out))
