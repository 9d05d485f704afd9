"""One layer or loss bound by itself, as the engine binds it, so that a law can be tried on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.engine import LayerSpec, Shape
from service.engine.arena import Arena, Bits
from service.engine.contract import Array, Site, Step
from service.engine.losses import LossSite, LossSpec
from service.engine.network import Vector
from service.engine.row import bind_row, fuse, lay, layouts, plan_row


@dataclass
class Bound:
    """A layer over fixed arrays."""

    x: Array
    y: Array
    dx: Array | None
    dy: Array
    theta: Array
    gradient: Array
    state: Array
    steps: tuple[tuple[Step, ...], tuple[Step, ...]]

    def forward(self) -> Array:
        for step in self.steps[0]:
            step()
        return self.y

    def backward(self) -> None:
        for step in self.steps[1]:
            step()


def bound(
    layer: LayerSpec | Sequence[LayerSpec],
    shape: Shape,
    rows: int = 3,
    dtype: str = "float64",
    training: bool = True,
    lengths: tuple[int, ...] | None = None,
    inner: bool = True,
    fused: bool = True,
) -> Bound:
    """`inner`: as a layer in the middle of a network, with a gradient in x; otherwise as the first one."""
    row = plan_row([layer] if isinstance(layer, LayerSpec) else layer, shape)
    names = row.parameters
    row = fuse(row) if fused else row
    trained = Vector(tuple(each for each in names if each.trained))
    kept = Vector(tuple(each for each in names if not each.trained))
    theta, gradient, state = trained.empty(dtype), trained.empty(dtype), kept.empty(dtype)
    random = np.random.default_rng(1)
    for place in trained.places:
        place.view(theta)[...] = random.standard_normal(place.parameter.shape) / 3
    for place in kept.places:
        place.view(state)[...] = place.parameter.value
    arena, bits = Arena(), Bits(5, 1)
    whole = np.dtype(np.intp) if shape.vocabulary is not None else np.dtype(dtype)
    x, ones = lay(arena.array, "x", rows, shape.dims, layouts(row, rows)[0], whole)
    if shape.vocabulary is None:
        x[...] = random.standard_normal(x.shape)
    else:
        x[...] = random.integers(0, shape.vocabulary, x.shape)
    y = np.zeros((rows, *row.out.dims), dtype)
    site = Site(
        rows=rows,
        shape=shape,
        plan=row.parts[-1].plan,
        x=x,
        y=y,
        dx=np.zeros((rows, *shape.dims), dtype) if inner and training and shape.vocabulary is None else None,
        dy=np.zeros_like(y) if training else y,
        ones=ones,
        theta=trained.views(theta),
        gradient=trained.views(gradient) if training else {},
        state=kept.views(state),
        lengths=None if lengths is None else np.array(lengths, np.intp),
        training=training,
        stateful=False,
        backward=training,
        path="net",
        arena=arena,
        bits=bits,
    )
    steps = bind_row(row, site)
    bits.refill(0, 0, 0)
    return Bound(x, y, site.dx, site.dy, theta, gradient, state, steps)


STEP = 1e-6


def derivative_error(it: Bound) -> float:
    """How far backward is from a central difference along one random direction, relative to it."""
    random = np.random.default_rng(2)
    r = random.standard_normal(it.y.shape)
    state = it.state.copy()

    def value() -> float:
        it.state[:] = state
        return float((it.forward() * r).sum())

    value()
    it.dy[...] = r
    it.backward()
    v = random.standard_normal(it.theta.shape)
    u = np.zeros(it.x.shape) if it.dx is None else random.standard_normal(it.x.shape)
    given = float(it.gradient @ v) + (0.0 if it.dx is None else float((it.dx * u).sum()))
    x, theta = it.x.copy(), it.theta.copy()
    ends = []
    for sign in (1, -1):
        if it.dx is not None:
            it.x[...] = x + sign * STEP * u
        it.theta[:] = theta + sign * STEP * v
        ends.append(value())
    wanted = (ends[0] - ends[1]) / (2 * STEP)
    return abs(given - wanted) / max(1.0, abs(wanted), abs(given))


@dataclass
class BoundLoss:
    """A loss over fixed arrays; `value()` is the mean loss."""

    z: Array
    y: Array
    dz: Array
    step: Step
    value: Callable[[], float]


def bound_loss(
    loss: LossSpec, z: Array, y: Array, mask: Array | None = None, constant: bool = True, look: bool = False
) -> BoundLoss:
    """`constant`: the divisor is known when binding, as in an ordinary training; else it is set before the step."""
    z, shape = z.copy(), Shape(z.shape[1:], timed=z.ndim > 2)
    given = loss.divisors(y[None], None if mask is None else mask[None], shape)
    divisor = float(len(z) * loss.elements(shape)) if given is None else float(given[0])
    known = divisor if constant and given is None else None
    evidence, dz = np.zeros_like(z)[None], np.zeros_like(z)
    encode = loss.encode(z.shape[-1], z.dtype, known)
    t = y
    if encode is not None:
        t = np.zeros_like(z)
        encode(y[None], t[None])
    site = LossSite(z, y, t, None if look else dz, mask, np.array(divisor, z.dtype), known, evidence[0], Arena())
    step = loss.bind(site)

    def value() -> float:
        step()
        sums = loss.read(evidence, y[None], None if mask is None else mask[None])
        return float(sums.losses[0]) / divisor

    return BoundLoss(z, y, dz, step, value)


def targets_for(loss: LossSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Targets that fit the loss, for z of this shape."""
    if loss.target == "class":
        return np.asarray(random.integers(0, shape[-1], shape[:-1]))
    if loss.target == "binary":
        return np.asarray(random.integers(0, 2, shape).astype(float))
    y = random.standard_normal(shape)
    return np.asarray(np.exp(y) / np.exp(y).sum(-1, keepdims=True) if loss.target == "distribution" else y)
