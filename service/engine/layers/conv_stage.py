"""One convolution with what may ride along: bias, ReLU and a max pool, block by block within the cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.contract import Site, Step
from service.engine.layers.bench import Bench
from service.engine.layers.conv_columns import COLUMNS
from service.engine.layers.conv_depthwise import DEPTHWISE, is_depthwise
from service.engine.layers.epilogue import epilogue
from service.engine.layers.kernel import Algorithm, Task, blocks_of, in_turn
from service.engine.layers.window import Window
from service.engine.layers.winograd import WINOGRAD, fits_winograd


@dataclass(frozen=True, slots=True)
class Stage:
    """What is to be done: the convolution, its bias, ReLU, and the maximum over windows of `pool`.

    `whole`: every position is wanted, also those that no window of the pool covers.
    """

    window: Window
    channels: int
    filters: int
    groups: int
    relu: bool = False
    pool: tuple[int, ...] | None = None
    whole: bool = False

    def choose(self, rows: int, backward: bool) -> tuple[Task, Algorithm]:
        """The fastest way there is for these sizes."""
        task = self._task(self.pool or (1,) * len(self.window.out))
        if is_depthwise(task):
            return task, DEPTHWISE
        if len(self.window.out) == 2 and self.pool in (None, (2, 2)):
            tiled = self._task((2, 2))
            if fits_winograd(tiled, rows, backward):
                return tiled, WINOGRAD
        return task, COLUMNS

    def _task(self, phase: tuple[int, ...]) -> Task:
        each = zip(self.window.out, phase, strict=True)
        grid = tuple(o // p if self.pool and not self.whole else -(-o // p) for o, p in each)
        return Task(self.window, phase, grid, self.channels, self.filters, self.groups)

    def memory(self, rows: int, backward: bool) -> int:
        """Numbers of working memory, masks counted as a quarter."""
        task, algorithm = self.choose(rows, backward)
        per_row = algorithm.per_row(task)
        block = -(-rows // len(blocks_of(rows, per_row)))
        staged = int(np.prod(task.reads)) * task.channels * (2 if backward else 1)
        masks = task.parts * task.positions * task.filters // 4 if backward and (self.relu or self.pool) else 0
        return block * (per_row + staged) + rows * masks + algorithm.fixed(task)


def bind_stage(stage: Stage, site: Site) -> tuple[Step, Step]:
    """(forward, backward) of the whole stage over the site's arrays."""
    task, algorithm = stage.choose(site.rows, site.backward)
    method, blocks = algorithm.method(task, site), blocks_of(site.rows, algorithm.per_row(task))
    bench = Bench(task, method, site, len(blocks) == 1)
    riders = epilogue(task, stage.relu, stage.pool is not None, method.biased, blocks, site)
    forward: list[Step] = [*bench.begin, *method.prepare]
    if riders.tile is not None:
        forward.append(partial(np.copyto, riders.tile, site.theta["bias"]))
    backward: list[Step] = [*method.begin]
    for i, rows in enumerate(blocks):
        kernel, into, out = bench.block(rows)
        forward += [*into, kernel.forward, *riders.forward(rows, kernel, bench.cut(site.y, rows))]
        if site.backward:
            again = [] if bench.alone else into
            ends = riders.backward(i, rows, kernel, bench.cut(site.dy, rows))
            backward += [*again, *ends, kernel.backward, *out]
    if riders.db is not None:
        flat = riders.db.reshape(-1, task.filters)
        backward.append(partial(np.ones(len(flat), site.dtype).dot, flat, site.gradient["bias"]))
    return in_turn(*forward), in_turn(*backward, *method.finish)
