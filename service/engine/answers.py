"""A network bound to answer: forward alone, with the activation that its loss implies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.engine.arena import Arena, Bits
from service.engine.contract import Array, Signature, Site, Step
from service.engine.feed import Feed
from service.engine.layers import LogSoftmax, Sigmoid, Softmax
from service.engine.losses import LossSpec
from service.engine.network import Compiled, kind_of
from service.engine.row import RowPlan, bind_row, fuse, layouts, plan_row

_ENDS = {"softmax": Softmax(), "sigmoid": Sigmoid(), "log_softmax": LogSoftmax()}
ENDS = tuple(_ENDS)  # kinds of activation that make probabilities of logits


@dataclass(frozen=True, slots=True)
class Answers:
    """The arrays and the work of one program. lengths: (rows,) valid steps, y: (rows, ...)."""

    feed: Feed
    lengths: Array
    y: Array
    steps: tuple[Step, ...]
    nbytes: int


def ended(net: Compiled, loss: LossSpec | None) -> RowPlan:
    """The row to bind: behind the last layer the activation that makes answers of what the loss takes."""
    return fuse(whole_row(net, loss))


def whole_row(net: Compiled, loss: LossSpec | None) -> RowPlan:
    """The same, layer by layer."""
    finish = None if loss is None else loss.ending(kind_of(net.plan.parts[-1].layer))
    if finish is None:
        return net.plan
    end = plan_row([_ENDS[finish]], net.plan.out)
    return RowPlan((*net.plan.parts, *end.parts), net.plan.shape, end.out)


def bind_answers(
    net: Compiled, row: RowPlan, signature: Signature, vectors: tuple[Array, Array], rows: int,
    carries: dict[str, Array] | None = None, mapped: Mapping[str, Array] | None = None,
) -> Answers:  # fmt: skip
    """A new program for so many rows on the vectors (theta, state), and on what is `mapped` in theta's stead.

    With `carries` the rows go on from those arrays, by name, and leave there where they ended.
    """
    arena = Arena()
    arena.carries = {} if carries is None else carries
    feed = Feed(signature, rows, 1, layouts(row, rows)[0], net.dtype, arena)
    y = arena.array("y", (rows, *row.out.dims), net.dtype)
    lengths = np.full(rows, row.shape.dims[0] if row.shape.dims else 1, np.intp)
    site = Site(
        rows=rows,
        shape=row.shape,
        plan=row.parts[-1].plan,
        x=feed.views[0],
        y=y,
        dx=None,
        dy=y,
        ones=feed.ones[0],
        theta=net.trained.views(vectors[0]) | dict(mapped or {}),
        gradient={},
        state=net.kept.views(vectors[1]),
        lengths=lengths if row.shape.timed else None,
        training=False,
        stateful=carries is not None,
        backward=False,
        path="net",
        arena=arena,
        bits=Bits(0, 1),
        frozen=True,
    )
    steps = bind_row(row, site)[0]
    return Answers(feed, lengths, y, steps, arena.nbytes)
