"""Why a network answers as it does: what each number of a row adds to the answer (integrated gradients)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.engine.answers import whole_row
from service.engine.arena import Arena, Bits
from service.engine.contract import Array, Signature, Site
from service.engine.fast import stepping
from service.engine.losses import LossSpec
from service.engine.network import Compiled, NetworkSpec
from service.engine.row import RowPlan, bind_row, lay, layouts
from service.errors import InvalidSpec, TooLarge

POINTS = 64  # of the path, at once where they fit
MOST_POINTS = 4096
MOST_BYTES = 500_000_000  # of the forward and backward pass
GAP = 2e-4  # of completeness, relative to what the answer moved by or to 1, that is good enough
DTYPE = "float64"


@dataclass(frozen=True, slots=True)
class Attributed:
    """`values`: what each number of the row adds, shaped like it; they sum to `answer` - `baseline` but for `gap`."""

    values: Array
    answer: float
    baseline: float
    points: int

    @property
    def gap(self) -> float:
        return abs(float(self.values.sum()) - (self.answer - self.baseline))


class Attribution:
    """Integrated gradients of a trained network: (x - x0) times the mean of df/dx between a baseline x0 and x.

    The mean is taken by the midpoint rule, at more and more points until the values sum to f(x) - f(x0).
    Sundararajan, Taly and Yan 2017. Not safe to use from several threads. Raises InvalidSpec for rows
    of ids, TooLarge.
    """

    def __init__(
        self, spec: NetworkSpec, signature: Signature, weights: Mapping[str, Array], loss: LossSpec | None = None
    ) -> None:
        if signature.vocabulary is not None:
            raise InvalidSpec("rows of ids have no gradient: nothing lies between two of them")
        net = Compiled(spec, signature, DTYPE)
        theta, state, gradient = net.trained.empty(DTYPE), net.kept.empty(DTYPE), net.trained.empty(DTYPE)
        net.load(weights, theta, state)
        row, arena = whole_row(net, loss), Arena()
        self._at_once = at_once = _at_once(row)
        self._x, ones = lay(arena.array, "x", at_once, row.shape.dims, layouts(row, at_once)[0], np.dtype(DTYPE))
        self._y, self._dy = (np.zeros((at_once, *row.out.dims)) for _ in range(2))
        self._dx = np.zeros((at_once, *row.shape.dims))
        site = Site(
            rows=at_once, shape=row.shape, plan=row.parts[-1].plan, x=self._x, y=self._y, dx=self._dx,
            dy=np.zeros_like(self._dy), ones=ones, theta=net.trained.views(theta),
            gradient=net.trained.views(gradient), state=net.kept.views(state), lengths=None, training=False,
            stateful=False, backward=True, path="net", arena=arena, bits=Bits(0, 1),
        )  # fmt: skip
        self._forward, self._backward = bind_row(row, site)
        self._site_dy, self._signature = site.dy, signature

    @stepping()
    def of(self, row: Array, baseline: Array, output: int) -> Attributed:
        """Of one row, raw as the signature says, for one number of the answer (counted in it laid flat)."""
        scale, offset = self._signature.scale, self._signature.offset
        x, x0 = (each.astype(np.float64) * scale + offset for each in (row, baseline))
        answer, begin = (self._answer(each, output) for each in (x, x0))
        points = POINTS
        while True:
            found = Attributed((x - x0) * self._mean_slope(x, x0, output, points), answer, begin, points)
            if points >= MOST_POINTS or found.gap <= GAP * max(1.0, abs(answer - begin)):
                return found
            points *= 2

    def _answer(self, x: Array, output: int) -> float:
        self._x[...] = x
        for step in self._forward:
            step()
        return float(self._y[0].reshape(-1)[output])

    def _mean_slope(self, x: Array, x0: Array, output: int, points: int) -> Array:
        """The mean of df/dx at the middles of so many equal pieces of the way."""
        total = np.zeros(x.shape)
        self._dy[...] = 0
        self._dy.reshape(self._at_once, -1)[:, output] = 1
        for start in range(0, points, self._at_once):
            share = (np.arange(start, start + self._at_once) + 0.5) / points
            np.copyto(self._x, x0 + share.reshape(-1, *(1,) * x.ndim) * (x - x0))
            for step in self._forward:
                step()
            np.copyto(self._site_dy, self._dy)  # which the backward pass may use up
            for step in self._backward:
                step()
            total += self._dx.sum(axis=0)
        return total / points


def _at_once(row: RowPlan) -> int:
    """How many points fit, a power of two. Raises TooLarge when not one does."""
    size = np.dtype(DTYPE).itemsize
    points = POINTS
    while points and size * (row.memory(points, True) + points * (row.shape.size + row.widest)) > MOST_BYTES:
        points //= 2
    if not points:
        raise TooLarge("the network is too large to be looked into", hint="It takes a forward and backward pass.")
    return points
