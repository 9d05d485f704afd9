"""Single loops in C for what takes NumPy several passes, where built: the same bits in a third of the time."""

from __future__ import annotations

import numpy as np

from service.engine.contract import Array, Step

try:
    from service.engine import _loops
except ImportError:  # no C compiler when this was installed
    _loops = None  # type: ignore[assignment]

BUILT = _loops is not None


def bound(name: str, arrays: tuple[Array, ...], constants: Array) -> Step | None:
    """The loop `name` over these vectors and what `constants` holds when it runs; None where NumPy must do."""
    if not BUILT:
        return None
    return _loops.bind(name, arrays, constants)


def flat(*arrays: Array | None) -> tuple[Array, ...] | None:
    """The same numbers as vectors in the order of memory; None unless all lie alike and without gaps."""
    found: list[Array] = []
    for each in arrays:
        if each is None or arrays[0] is None or (each.shape, each.strides) != (arrays[0].shape, arrays[0].strides):
            return None
        packed = each.transpose(sorted(range(each.ndim), key=lambda axis: -each.strides[axis]))
        if not packed.flags.c_contiguous:
            return None
        found.append(packed.reshape(-1))
    return tuple(found)


def constants(*values: float, like: Array) -> tuple[Array, ...]:
    """(all of them as a vector, each as a 0-d view of it): a Python number would cost a conversion in every call."""
    vector = np.array(values, like.dtype)
    return vector, *(vector[i : i + 1].reshape(()) for i in range(len(values)))
