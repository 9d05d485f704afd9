"""Smoothings: how much of a count is kept, and how much goes to the shorter context.

All but two are one formula, over the kept n-grams `c w` of a context `c` and its shorter self `c'`:

    p(w|c) = (a(c w) - D(a)) / (a(c .) + X(c)) + gamma(c) p(w|c')
    gamma(c) = 1 - the first term summed over the kept w

`a` is the raw count, or for the Kneser-Ney family, below the highest order, the number of different words seen to the
left (n-grams that begin with <s> keep their raw count: nothing can stand to their left).
The order below one is the uniform distribution over the vocabulary with <unk> and </s>, without <s>.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.ngram.contract import Spec

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the text gives none: those of lmplz --discount_fallback."""

Discount = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Discounts:
    """What is taken from counts of 1, 2, and 3 or more; `fallback` says the text gave none."""

    one: float
    two: float
    three: float
    fallback: bool = False

    def table(self) -> NDArray[np.float64]:
        """Indexed by min(count, 3); nothing can be taken from a count of 0."""
        return np.array([0.0, self.one, self.two, self.three])


NONE = Discounts(0.0, 0.0, 0.0)


class Interpolated(Spec):
    """Base: the formula of this module. `counts_left`: lower orders count what stands to the left."""

    counts_left: ClassVar[bool] = False
    to_uniform: ClassVar[bool] = False

    def discounts(self, seen: NDArray[np.int64]) -> Discounts:
        """From how many n-grams have the count 1, 2, 3 and 4 (`seen[1]` to `seen[4]`)."""
        return NONE

    def extra(self, types: NDArray[np.int64], vocabulary: int) -> NDArray[np.float64] | float:
        """X(c): what is added to a context's total, from the number of different words after it."""
        return 0.0


class ModifiedKneserNey(Interpolated):
    """Interpolated modified Kneser-Ney with three discounts an order (Chen and Goodman 1998), as KenLM's lmplz."""

    kind: Literal["modified_kneser_ney"] = "modified_kneser_ney"
    counts_left: ClassVar[bool] = True

    def discounts(self, seen: NDArray[np.int64]) -> Discounts:
        """D_j = j - (j+1) Y n_(j+1) / n_j with Y = n_1 / (n_1 + 2 n_2): equation 26 of Chen and Goodman."""
        n1, n2, n3, n4 = (float(n) for n in seen[1:5])
        if not (n1 and n2 and n3):
            return Discounts(*FALLBACK, fallback=True)
        y = n1 / (n1 + 2 * n2)
        one, two, three = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        if not (0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3):
            return Discounts(*FALLBACK, fallback=True)
        return Discounts(one, two, three)


class KneserNey(Interpolated):
    """Interpolated Kneser-Ney with one discount an order: n_1 / (n_1 + 2 n_2) unless given."""

    kind: Literal["kneser_ney"] = "kneser_ney"
    discount: Discount | None = None
    counts_left: ClassVar[bool] = True

    def discounts(self, seen: NDArray[np.int64]) -> Discounts:
        return _one_discount(self.discount, seen)


class AbsoluteDiscounting(Interpolated):
    """One discount an order from raw counts (Ney, Essen and Kneser 1994): n_1 / (n_1 + 2 n_2) unless given."""

    kind: Literal["absolute_discounting"] = "absolute_discounting"
    discount: Discount | None = None

    def discounts(self, seen: NDArray[np.int64]) -> Discounts:
        return _one_discount(self.discount, seen)


class WittenBell(Interpolated):
    """Witten and Bell 1991: X(c) is the number of different words after c, so often a new one was seen."""

    kind: Literal["witten_bell"] = "witten_bell"

    def extra(self, types: NDArray[np.int64], vocabulary: int) -> NDArray[np.float64] | float:
        return types.astype(np.float64)


class AddK(Interpolated):
    """p(w|c) = (n(c w) + k) / (n(c) + k V) after the longest context seen; k = 1 is Laplace. Has no ARPA form."""

    kind: Literal["add_k"] = "add_k"
    k: Annotated[float, Field(gt=0, le=1000)] = 1.0
    to_uniform: ClassVar[bool] = True

    def extra(self, types: NDArray[np.int64], vocabulary: int) -> NDArray[np.float64] | float:
        return self.k * vocabulary


class StupidBackoff(Spec):
    """Brants et al. 2007: relative frequencies, times `factor` for each word the context loses, made to sum to one.

    The scores S of the paper are divided by their sum after each context: probabilities, in the same ranking.
    """

    kind: Literal["stupid_backoff"] = "stupid_backoff"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.4
    counts_left: ClassVar[bool] = False
    to_uniform: ClassVar[bool] = False


def _one_discount(given: float | None, seen: NDArray[np.int64]) -> Discounts:
    if given is not None:
        return Discounts(given, given, given)
    n1, n2 = float(seen[1]), float(seen[2])
    if not (n1 and n2):
        return Discounts(FALLBACK[0], FALLBACK[0], FALLBACK[0], fallback=True)
    d = n1 / (n1 + 2 * n2)
    return Discounts(d, d, d)


Smoothing = Annotated[
    ModifiedKneserNey | KneserNey | WittenBell | AddK | AbsoluteDiscounting | StupidBackoff,
    Field(discriminator="kind"),
]
