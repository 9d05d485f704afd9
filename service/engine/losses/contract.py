"""What every loss must be able to say and do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.arena import Arena
from service.engine.contract import Array, Shape, Spec, Step, Target

Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LossSite:
    """Fixed arrays of one step.

    `z`: (rows, ..., k) the network's last output, without the activation the loss absorbs. `y`: the targets as given,
    (rows, ...) whole numbers or (rows, ..., k) numbers; `t`: what `encode` made of them. `dz`: where the derivative
    goes, None when only the value is wanted. `mask`: (rows, time), 1 or 0 where a sequence is padded, or None.
    `divisor`: 0-d, set before the step: the derivative is of (sum of losses) / divisor; `constant`: its value when
    it never changes, else None. `evidence`: an array shaped like z that is kept until the loss is read. `tall`:
    (k + 1, rows) the memory of z, if it lies class by class, and one more row.
    """

    z: Array
    y: Array
    t: Array
    dz: Array | None
    mask: Array | None
    divisor: Array
    constant: float | None
    evidence: Array
    arena: Arena
    tall: Array | None = None

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """Working memory of the step, shared with the other steps of the program."""
        return self.arena.array(f"loss.{name}", shape, dtype or self.z.dtype, rows=len(self.z))


@dataclass(frozen=True, slots=True)
class Sums:
    """What several steps came to, one number a step: the mean loss is losses / divisors, accuracy right / counts."""

    losses: Doubles
    right: Doubles | None
    counts: Doubles

    def blended(self, other: Sums, share: Doubles) -> Sums:
        """`share` (one number a step) of these and the rest of the others': what mixtures came to."""
        right = None if self.right is None or other.right is None else share * self.right + (1 - share) * other.right
        return Sums(share * self.losses + (1 - share) * other.losses, right, self.counts)


class LossSpec(Spec):
    """Contract of a loss.

    target     what the data must give: class (whole numbers), binary (0 or 1), number, distribution
    absorbs    kinds of a final activation computed together with the loss; the network's answers still have it
    columns    up to so many outputs, z is best laid class by class
    finish     kind of the activation that makes answers (probabilities) of what the loss takes, if any
    mixes      targets between two given ones mean something (mixup)
    """

    target: ClassVar[Target]
    name: ClassVar[str]
    absorbs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[int] = 0
    finish: ClassVar[str | None] = None
    mixes: ClassVar[bool] = True

    def width(self, outputs: int) -> int:
        """How many numbers the last layer must give for this many classes or targets."""
        return outputs

    def advice(self, last: str | None) -> str | None:
        """A warning about the final activation (its kind, None for a linear end), or None."""
        return None

    def ending(self, last: str) -> str | None:
        """Kind of the activation that answers need behind a last layer of kind `last`, or None."""
        return None if last == self.finish and last in self.absorbs else self.finish

    def fault(self, outputs: int) -> tuple[str, str] | None:
        """(pointer inside the loss, message) when the loss does not fit the data, or None."""
        return None

    def elements(self, shape: Shape) -> int:
        """What one row without padding adds to the divisor."""
        return shape.size

    def divisors(self, y: Array, mask: Array | None, shape: Shape) -> Doubles | None:
        """For a block (steps, rows, ...): what to divide each step's sum by; None when it is rows * elements."""
        if mask is None:
            return None
        per_step = self.elements(shape) // shape.dims[0]
        return np.asarray(mask.reshape(len(mask), -1).sum(axis=1, dtype=np.float64) * per_step)

    def encode(self, width: int, dtype: Any, constant: float | None) -> Callable[[Array, Array], object] | None:
        """Makes `t` (steps, rows, ..., k) of a block of targets, once a block; None when t is y itself."""
        return None

    def bind(self, site: LossSite) -> Step:
        """One step: leaves evidence and, unless it is None, writes dz."""
        raise NotImplementedError

    def read(self, evidence: Array, y: Array, mask: Array | None) -> Sums:
        """From the evidence of several steps (axis 0), with their targets. A step's sums depend on it alone."""
        raise NotImplementedError


def sum_steps(each: Array, mask: Array | None) -> Doubles:
    """(steps, rows, ...) -> (steps,) in float64, padded places left out."""
    if mask is not None:
        each = np.where(spread(mask, each) > 0, each, 0)
    return np.asarray(np.add.reduce(each.reshape(len(each), -1), 1, np.float64))


def count_steps(each: Array, mask: Array | None) -> Doubles:
    """How many places `sum_steps` adds up, step by step."""
    if mask is None:
        return np.full(len(each), float(each[0].size))
    return sum_steps(np.ones(each.shape, np.bool_), mask)


def spread(mask: Array, like: Array) -> Array:
    """The mask with axes of one behind, so that it multiplies `like`."""
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))


def divided(site: LossSite, derivative: Step) -> Step:
    """The derivative in dz, then divided by the divisor, and nothing where a sequence is padded."""
    dz, divisor, mask = site.dz, site.divisor, site.mask
    if dz is None:
        raise ValueError("nothing to divide")
    if mask is None:

        def plain() -> None:
            derivative()
            np.divide(dz, divisor, dz)

        return plain
    wide = spread(mask, dz)

    def masked() -> None:
        derivative()
        np.divide(dz, divisor, dz)
        np.multiply(dz, wide, dz)

    return masked
