"""One step of the optimizer over the whole vector: clipping and penalties, then the update, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from service.engine.arena import common
from service.engine.contract import Array
from service.engine.optimizers import CHUNK, OptimizerSpec, Update, constant


def bind_update(
    spec: OptimizerSpec, theta: Array, gradient: Array, slots: Mapping[str, Array],
    length: Callable[[], float] | None = None,
) -> Update:  # fmt: skip
    """(t, rate) -> the whole step, in pieces that stay in the cache; numbers move singly, so pieces change no bit.

    `length`: of the gradient, when this one is only a part of it.
    """
    pieces = [slice(start, start + CHUNK) for start in range(0, theta.size, CHUNK)]
    spare = np.empty(min(CHUNK, theta.size), theta.dtype)
    updates: list[Update] = []
    for piece in pieces:
        p, g = theta[piece], gradient[piece]
        mine = {name: slot[piece] for name, slot in slots.items()}
        updates.append(spec.bind(p, g, mine, spare[: p.size]))
    return _joined(_condition(spec, theta, gradient, length), tuple(updates))


def _joined(before: Update | None, updates: tuple[Update, ...]) -> Update:
    if before is None and len(updates) == 1:
        return updates[0]

    def update(t: int, rate: float) -> None:
        if before is not None:
            before(t, rate)
        for each in updates:
            each(t, rate)

    return update


def _condition(spec: OptimizerSpec, theta: Array, gradient: Array, length: Callable[[], float] | None) -> Update | None:
    """Clipping and penalties on the gradient, or None when there are none."""
    decay = 0.0 if spec.decoupled else spec.weight_decay
    if not (decay or spec.l1 or spec.clip_norm or spec.clip_value):
        return None
    spare = np.empty_like(theta)
    scale, low, high = (
        constant(1, theta),
        constant(-(spec.clip_value or 0), theta),
        constant(spec.clip_value or 0, theta),
    )
    l2, l1 = constant(decay, theta), constant(spec.l1, theta)

    def condition(t: int, rate: float) -> None:
        if spec.clip_norm:
            norm = math.sqrt(float(gradient.dot(gradient))) if length is None else length()
            if norm > spec.clip_norm:  # PyTorch: clip_norm / (norm + 1e-6), never more than 1
                scale[...] = min(1.0, spec.clip_norm / (norm + 1e-6))
                np.multiply(gradient, scale, gradient)
        if spec.clip_value:
            np.clip(gradient, low, high, out=gradient)
        if decay:
            np.multiply(theta, l2, spare)
            np.add(gradient, spare, gradient)
        if spec.l1:
            np.sign(theta, spare)
            np.multiply(spare, l1, spare)
            np.add(gradient, spare, gradient)

    return condition


def slot_arrays(spec: OptimizerSpec, theta: Array) -> dict[str, Array]:
    """The optimizer's vectors at the start; those that its settings never touch stay untouched zero pages."""
    return {name: common(theta.size, theta.dtype) for name in spec.slots}
