"""NumPy's quick ways that its public names or its type stubs do not show."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy._core import umath
from numpy.typing import NDArray


class Ternary(Protocol):
    """A ufunc of three arrays; `out` last."""

    def __call__(self, x: NDArray[Any], low: NDArray[Any], high: NDArray[Any], out: NDArray[Any], /) -> object: ...


class Along(Protocol):
    """A reduction: (x, axis, dtype, out, keepdims), all by position, which saves half a microsecond."""

    def __call__(self, x: NDArray[Any], axis: int, dtype: None, out: NDArray[Any], keepdims: bool, /) -> object: ...


clip: Ternary = getattr(umath, "clip")  # noqa: B009  the ufunc behind np.clip: max(x, 0) by it is 3 x faster
largest: Along = np.maximum.reduce  # type: ignore[assignment]
total: Along = np.add.reduce  # type: ignore[assignment]
