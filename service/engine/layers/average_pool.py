"""Average pooling: the mean of each window."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, Site, Step
from service.engine.layers.kernel import Task, taps
from service.engine.layers.pool import Pool, by_hole
from service.engine.layers.window import Extents1, Extents2, Extents3


class AveragePool(Pool):
    """The mean of each window, channel by channel; padding does not count."""

    def _nothing(self) -> float:
        return 0.0

    def _reduce(
        self, task: Task, site: Site, rows: slice, seen: list[Array], to: list[Array] | None, y: Array, dy: Array
    ) -> tuple[list[Step], list[Step]]:
        share = np.array(_shares(task), site.dtype)
        t = site.loose(f"t{rows.stop - rows.start}", y.shape)
        forward: list[Step] = [partial(np.copyto, t, seen[0])]
        forward += [partial(np.add, t, hole, t) for hole in seen[1:]]
        forward.append(partial(np.multiply, t, share, y))
        backward: list[Step] = [partial(np.multiply, dy, share, t)]
        backward += [partial(np.add, hole, t, hole) for hole in to or ()]
        return forward, backward


class AveragePool1d(AveragePool):
    """y[t, c] = mean over k < pool_size of x[t strides + k, c]; padding does not count.

    x: (batch, time, channels), y: (batch, floor((time - pool_size) / strides) + 1, channels). LeCun et al. 1998.
    """

    kind: Literal["average_pool1d"] = "average_pool1d"
    pool_size: Extents1 = Field(description="Length of the window.")
    strides: Extents1 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size


class AveragePool2d(AveragePool):
    """y[i, j, c] = mean over k, l of x[i strides + k, j strides + l, c]; padding does not count.

    x: (batch, height, width, channels), y: (batch, floor((height - pool_size) / strides) + 1, ..., channels).
    LeCun et al. 1998.
    """

    kind: Literal["average_pool2d"] = "average_pool2d"
    pool_size: Extents2 = Field(description="Height and width of the window, or one number for both.")
    strides: Extents2 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size


class AveragePool3d(AveragePool):
    """y = the mean of each window of (depth, height, width) in x; padding does not count.

    x: (batch, depth, height, width, channels), y: (batch, floor((depth - pool_size) / strides) + 1, ..., channels).
    PyTorch's AvgPool3d with count_include_pad false.
    """

    kind: Literal["average_pool3d"] = "average_pool3d"
    pool_size: Extents3 = Field(description="Depth, height and width of the window, or one number for all.")
    strides: Extents3 | None = Field(default=None, description="Steps between windows; pool_size when left out.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, self.strides or self.pool_size


def _shares(task: Task) -> Array:
    """(*positions, 1, 1): one over the number of inputs that each window holds."""
    ones = np.zeros((*task.reads, 1, 1))
    ones[tuple(slice(start, stop) for start, stop in task.window.inside(task.reads))] = 1
    return np.asarray(1 / sum(by_hole(taps(ones, task), task)))
