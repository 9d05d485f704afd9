"""NumPy's quick ways that its public names or its type stubs do not show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


BUFFER = 1024
"""Numbers in a ufunc's buffer. NumPy's own 8192 makes it copy every operand whose runs are shorter than half of that
through the buffer, even where nothing is to be cast: three times slower for the planes of an image."""


@contextmanager
def stepping() -> Iterator[None]:
    """NumPy while steps run: small buffers, and no word of overflow. In this thread, until the end of the block."""
    with np.errstate(all="ignore"):
        np.setbufsize(BUFFER)
        yield


clip: Ternary = getattr(umath, "clip")  # noqa: B009  the ufunc behind np.clip: max(x, 0) by it is 3 x faster
largest: Along = np.maximum.reduce  # type: ignore[assignment]
total: Along = np.add.reduce  # type: ignore[assignment]
