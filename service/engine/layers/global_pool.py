"""Global pooling: one number for each channel of a whole row."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from service.engine.contract import Array, LayerPlan, LayerSpec, Layout, Shape, Site, Step, Unfit
from service.engine.layers.kernel import in_turn
from service.engine.layers.valid import valid_steps
from service.engine.layers.window import space_first


class GlobalPool(LayerSpec):
    """What both share: any number of axes before the channels, and steps of shorter rows that do not count."""

    def plan(self, shape: Shape) -> LayerPlan:
        if len(shape.dims) < 2:
            raise Unfit("takes rows of (..., channels), but its input has no axis before the channels")
        return LayerPlan(Shape(shape.dims[-1:]), flops=shape.size, workspace=2 * shape.size)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return space_first(len(shape.dims) - 1)


class GlobalAveragePool(GlobalPool):
    """y[c] = mean of x[..., c] over all places, or over the valid steps of a shorter row.

    x: (batch, ..., channels), y: (batch, channels). Lin et al. 2013.
    """

    kind: Literal["global_average_pool"] = "global_average_pool"

    def bind(self, site: Site) -> tuple[Step, Step]:
        steps, valid = valid_steps(site)
        x, dx, y, dy = _space_first(site.x), _space_first(site.dx if site.backward else None), site.y, site.dy
        assert x is not None
        sums, share = site.scratch("sums", site.plan.shape.dims), site.scratch("share", (1,))
        share[...] = site.shape.dims[-1] / site.shape.size
        if site.lengths is not None:
            steps.append(partial(np.divide, 1, site.lengths[:, None], share, casting="same_kind"))
        steps, flat = _laid(site, x, steps, None if valid is None else partial(np.multiply, x, valid))
        add_up = partial(np.ones(len(flat), site.dtype).dot, flat, sums.reshape(-1))
        forward = in_turn(*steps, add_up, partial(np.multiply, sums, share, y))
        if dx is None:
            return forward, in_turn()
        spread = partial(np.copyto, dx, sums) if valid is None else partial(np.multiply, sums, valid, dx)
        return forward, in_turn(partial(np.multiply, dy, share, sums), spread)


class GlobalMaxPool(GlobalPool):
    """y[c] = max of x[..., c] over all places, or over the valid steps of a shorter row; the first of equals counts.

    x: (batch, ..., channels), y: (batch, channels). Collobert et al. 2011.
    """

    kind: Literal["global_max_pool"] = "global_max_pool"

    def bind(self, site: Site) -> tuple[Step, Step]:
        steps, valid = valid_steps(site)
        x, dx, y, dy = _space_first(site.x), _space_first(site.dx if site.backward else None), site.y, site.dy
        assert x is not None
        top, best = site.scratch("top", y.shape[1:]), site.scratch("best", y.shape[1:], np.intp)
        row, where, columns = top.reshape(-1), best.reshape(-1), np.arange(top.size)
        mask = None
        if valid is not None:
            penalty = site.loose("penalty", valid.shape)
            steps.append(partial(_forbid, valid, penalty))
            mask = partial(np.add, x, penalty)
        steps, flat = _laid(site, x, steps, mask)
        look = in_turn(
            *steps, partial(np.argmax, flat, 0, where), partial(np.multiply, where, top.size, where),
            partial(np.add, where, columns, where), partial(flat.reshape(-1).take, where, None, row, "clip"),
            partial(np.copyto, y, top),
        )  # fmt: skip
        if dx is None:
            return look, in_turn()
        d = site.loose("d", dx.shape)
        back = (partial(np.copyto, top, dy), partial(d.fill, 0), partial(d.reshape(-1).put, where, row, "clip"))
        return look, in_turn(*back, partial(np.copyto, dx, d))


def _forbid(valid: Array, penalty: Array) -> None:
    """0 where a row still lasts, else minus infinity."""
    penalty.fill(-np.inf)
    penalty[valid > 0] = 0


def _space_first(array: Array | None) -> Array | None:
    return None if array is None else array.transpose(space_first(array.ndim - 2))


def _laid(site: Site, x: Array, steps: list[Step], mask: partial[object] | None) -> tuple[list[Step], Array]:
    """(what to do first, (places, rows * channels)): x as it lies, or a copy with what must not count masked."""
    if mask is None and x.flags.c_contiguous:
        return steps, x.reshape(-1, site.rows * x.shape[-1])
    copy = site.loose("copy", x.shape)
    steps = [*steps, partial(mask, copy) if mask is not None else partial(np.copyto, copy, x)]
    return steps, copy.reshape(-1, site.rows * x.shape[-1])
