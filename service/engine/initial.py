"""Start values of weights; without a word of the spec, the activation that follows decides."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.contract import Initial

Array: TypeAlias = NDArray[Any]


def draw(
    how: Initial, shape: tuple[int, ...], fans: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Weights of this shape in float64.

    glorot      uniform in +-sqrt(6 / (in + out))       Glorot and Bengio 2010
    he          normal, variance 2 / in                 He et al. 2015
    orthogonal  rows or columns orthonormal             Saxe et al. 2013
    """
    if how == "zeros":
        return np.zeros(shape)
    if how == "glorot":
        limit = math.sqrt(6 / (fans[0] + fans[1]))
        return generator.uniform(-limit, limit, shape)
    if how == "he":
        return generator.standard_normal(shape) * math.sqrt(2 / fans[0])
    return _orthogonal(shape, generator)


def _orthogonal(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    normal = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= columns else q.T).reshape(shape)
