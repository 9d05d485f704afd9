"""Max pooling: the largest number of each window."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Site, Step
from service.engine.layers.kernel import Task
from service.engine.layers.pool import Pool
from service.engine.layers.window import Extents1, Extents2, Extents3


class MaxPool(Pool):
    """The largest number of each window, channel by channel; the first of equals gets the gradient, as in PyTorch."""

    @property
    def disjoint(self) -> bool:
        """Whether every window begins where the last one ended, so that a convolution can take the maximum itself."""
        size, strides = self.extents
        return size == strides and self.padding == "valid"

    def _nothing(self) -> float:
        return -np.inf

    def _reduce(
        self, task: Task, site: Site, rows: slice, seen: list[Array], to: list[Array] | None, y: Array, dy: Array
    ) -> tuple[list[Step], list[Step]]:
        forward: list[Step] = [partial(np.copyto, y, seen[0])]
        if not site.backward or to is None:
            forward += [partial(np.maximum, hole, y, out=y) for hole in seen[1:]]
            return forward, []
        n = rows.stop - rows.start
        won = site.scratch("won", (len(seen) * task.positions * task.channels,), np.bool_)[rows].reshape(-1, *y.shape)
        t, d = site.loose(f"t{n}", y.shape), site.loose(f"d{n}", y.shape)
        backward: list[Step] = [partial(np.copyto, d, dy)]
        for hole, won_here in zip(seen[1:], won[1:], strict=True):
            forward += [partial(np.greater, hole, y, won_here), partial(np.maximum, hole, y, out=y)]
        for to_hole, won_here in reversed(list(zip(to[1:], won[1:], strict=True))):
            backward += [partial(np.multiply, d, won_here, t), partial(np.subtract, d, t, d)]
            backward.append(partial(np.add, to_hole, t, to_hole))
        return forward, [*backward, partial(np.add, to[0], d, to[0])]


class MaxPool1d(MaxPool):
    """y[t, c] = max over k < pool_size of x[t strides + k, c].

    x: (batch, time, channels), y: (batch, floor((time - pool_size) / strides) + 1, channels). Yamaguchi et al. 1990.
    """

    kind: Literal["max_pool1d"] = "max_pool1d"
    pool_size: Extents1 = Field(description="Length of the window.")
    strides: Extents1 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size


class MaxPool2d(MaxPool):
    """y[i, j, c] = max over k, l of x[i strides + k, j strides + l, c].

    x: (batch, height, width, channels), y: (batch, floor((height - pool_size) / strides) + 1, ..., channels).
    Weng et al. 1992.
    """

    kind: Literal["max_pool2d"] = "max_pool2d"
    pool_size: Extents2 = Field(description="Height and width of the window, or one number for both.")
    strides: Extents2 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size


class MaxPool3d(MaxPool):
    """y = the largest number of each window of (depth, height, width) in x.

    x: (batch, depth, height, width, channels), y: (batch, floor((depth - pool_size) / strides) + 1, ..., channels).
    Tran et al. 2015.
    """

    kind: Literal["max_pool3d"] = "max_pool3d"
    pool_size: Extents3 = Field(description="Depth, height and width of the window, or one number for all.")
    strides: Extents3 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size
