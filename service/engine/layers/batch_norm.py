"""Batch normalisation: each channel brought to mean 0 and variance 1 over the batch, then scaled and shifted."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Array, LayerPlan, LayerSpec, Layout, Parameter, Shape, Site, Step, Unfit
from service.engine.layers.kernel import in_turn
from service.engine.layers.valid import valid_steps
from service.engine.layers.window import space_first

PIECE = 65_536  # numbers of one piece of a pass: it and its scratch stay in the second-level cache


class BatchNorm(LayerSpec):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance of each channel over batch and space.

    x, y: (batch, ..., channels); weight is gamma, bias is beta. In training the batch's own mean and (biased) variance;
    the running ones follow: running = (1 - momentum) running + momentum of the batch, with the unbiased variance, as in
    PyTorch (Keras' momentum is 1 - momentum). Otherwise the running ones. The padding of shorter rows does not
    count and becomes 0.
    dx = gamma / s (dy - mean(dy) - xhat mean(dy xhat)), s = sqrt(variance + epsilon). Ioffe and Szegedy 2015.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: float = Field(default=0.1, gt=0, le=1, description="Share of the newest batch in the running statistics.")
    epsilon: float = Field(default=1e-5, gt=0, le=1, description="Added to the variance.")
    couples_rows: ClassVar[bool] = True

    def plan(self, shape: Shape) -> LayerPlan:
        if not shape.dims:
            raise Unfit("needs at least one number per row")
        c = shape.dims[-1:]
        trained = Parameter("weight", c, value=1.0), Parameter("bias", c)
        kept = Parameter("running_mean", c, trained=False), Parameter("running_var", c, value=1.0, trained=False)
        count = Parameter("num_batches_tracked", (1,), exported=(), dtype="int64", trained=False)
        return LayerPlan(shape, (*trained, *kept, count), flops=8 * shape.size)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return space_first(len(shape.dims) - 1) if len(shape.dims) > 1 else "rows"

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        along = shape.dims[0] if len(shape.dims) > 1 else rows
        piece = max(PIECE, rows * shape.size // along)
        return 2 * min(piece, rows * shape.size) + 5 * rows * shape.dims[-1]

    def follow(self, state: dict[str, Array], prefix: str, mean: Array, variance: Array, count: float) -> None:
        """The running statistics go on to a new batch."""
        unbiased = variance * (count / max(count - 1, 1))
        for name, now in (("running_mean", mean), ("running_var", unbiased)):
            running = state[prefix + name]
            running += self.momentum * (now - running)
        state[prefix + "num_batches_tracked"] += 1

    def bind(self, site: Site) -> tuple[Step, Step | None]:
        norm = _Norm(self, site)
        if not site.training:
            back = in_turn(*norm.slope()) if norm.dx is not None else None
            return in_turn(*norm.begin, norm.recall, *norm.scaled()), back
        forward = in_turn(*norm.begin, *norm.means(), norm.mean, *norm.deviations(), norm.learn, *norm.scaled())
        return forward, in_turn(*norm.products(), norm.slopes, *norm.gradients())


class _Norm:
    """The layer over its arrays, (*space, rows, channels) each; every pass goes piece by piece along the first axis.

    y = x scale + shift and dx = dy scale + x slope + level with one number per channel in `factors`; `wide` holds the
    same for all rows side by side, so that runs are long. `sums`: (2, pieces, channels).
    """

    MEAN, SCALE, SHIFT, SLOPE, LEVEL = range(5)

    def __init__(self, spec: BatchNorm, site: Site) -> None:
        self.spec, self.site = spec, site
        order, c = space_first(len(site.shape.dims) - 1), site.shape.dims[-1]
        self.x, self.y = site.x.transpose(order), site.y.transpose(order)
        self.dy = site.dy.transpose(order) if site.backward else self.y
        self.dx = site.dx.transpose(order) if site.backward and site.dx is not None else None
        step = max(1, PIECE * len(self.x) // self.x.size)
        self.pieces = [slice(i, i + step) for i in range(0, len(self.x), step)]
        self.t, self.u = (site.loose(name, self.x[:step].shape) for name in "tu")
        self.sums, self.factors = site.loose("sums", (2, len(self.pieces), c)), site.loose("factors", (5, c))
        self.rstd = site.loose("rstd", (c,))
        self.wide = site.loose("wide", (5, site.rows, c)) if self.x.ndim > 2 else self.factors
        self.begin, self.valid = valid_steps(site)

    @property
    def count(self) -> float:
        """How many numbers of each channel there are."""
        if self.valid is None:
            return float(self.x.size // self.x.shape[-1])
        return max(float(self.valid.sum()), 1.0)

    # --- forward ----------------------------------------------------------------------------------------------

    def means(self) -> list[Step]:
        return [step for i, piece in enumerate(self.pieces) for step in self._sum(0, i, self.x[piece], self.t)]

    def mean(self) -> None:
        np.divide(self.sums[0].sum(0), self.count, self.factors[self.MEAN])
        self.wide[self.MEAN] = self.factors[self.MEAN]

    def deviations(self) -> list[Step]:
        """Sums of (x - mean)^2."""
        steps: list[Step] = []
        for i, piece in enumerate(self.pieces):
            x = self.x[piece]
            t = self.t[: len(x)]
            steps.append(partial(np.subtract, x, self.wide[self.MEAN], t))
            steps += self._only_valid(t, piece)
            steps += [partial(np.multiply, t, t, t), self._column_sums(0, i, t)]
        return steps

    def learn(self) -> None:
        """Scale and shift from the batch; the running statistics follow."""
        count, mean = self.count, self.factors[self.MEAN]
        variance = self.sums[0].sum(0) / count
        self._scale(mean, variance)
        self.spec.follow(self.site.state, "", mean, variance, count)

    def recall(self) -> None:
        """Scale and shift from the running statistics."""
        self._scale(self.site.state["running_mean"], self.site.state["running_var"])

    def _scale(self, mean: Array, variance: Array) -> None:
        np.divide(1, np.sqrt(variance + self.spec.epsilon), self.rstd)
        np.multiply(self.site.theta["weight"], self.rstd, self.factors[self.SCALE])
        np.subtract(self.site.theta["bias"], mean * self.factors[self.SCALE], self.factors[self.SHIFT])
        for each in (self.SCALE, self.SHIFT):
            self.wide[each] = self.factors[each]

    def scaled(self) -> list[Step]:
        """y = x scale + shift."""
        steps: list[Step] = []
        for piece in self.pieces:
            x = self.x[piece]
            t = self.t[: len(x)]
            steps.append(partial(np.multiply, x, self.wide[self.SCALE], t))
            steps.append(partial(np.add, t, self.wide[self.SHIFT], self.y[piece]))
            steps += self._only_valid(self.y[piece], piece)
        return steps

    # --- backward ---------------------------------------------------------------------------------------------

    def slope(self) -> list[Step]:
        """dx = dy scale, where the statistics do not come from the batch."""
        steps: list[Step] = []
        for piece in self.pieces:
            if self.dx is not None:
                steps.append(partial(np.multiply, self.dy[piece], self.wide[self.SCALE], self.dx[piece]))
                steps += self._only_valid(self.dx[piece], piece)
        return steps

    def products(self) -> list[Step]:
        """Sums of dy (x - mean) and of dy."""
        steps: list[Step] = []
        for i, piece in enumerate(self.pieces):
            x, dy = self.x[piece], self.dy[piece]
            t, u = self.t[: len(x)], self.u[: len(x)]
            steps += self._sum(1, i, dy, u)
            steps += [partial(np.subtract, x, self.wide[self.MEAN], t), partial(np.multiply, t, dy, t)]
            steps += [*self._only_valid(t, piece), self._column_sums(0, i, t)]
        return steps

    def slopes(self) -> None:
        gradient, f, count = self.site.gradient, self.factors, self.count
        self.sums[1].sum(0, out=gradient["bias"])
        np.multiply(self.sums[0].sum(0), self.rstd, gradient["weight"])
        f[self.SLOPE] = -f[self.SCALE] * self.rstd * gradient["weight"] / count
        f[self.LEVEL] = -f[self.SCALE] * gradient["bias"] / count - f[self.MEAN] * f[self.SLOPE]
        for each in (self.SLOPE, self.LEVEL):
            self.wide[each] = f[each]

    def gradients(self) -> list[Step]:
        """dx = dy scale + x slope + level."""
        steps: list[Step] = []
        if self.dx is None:
            return steps
        for piece in self.pieces:
            x, dy, dx = self.x[piece], self.dy[piece], self.dx[piece]
            t, u = self.t[: len(x)], self.u[: len(x)]
            steps.append(partial(np.multiply, dy, self.wide[self.SCALE], u))
            steps.append(partial(np.multiply, x, self.wide[self.SLOPE], t))
            steps += [partial(np.add, t, u, t), partial(np.add, t, self.wide[self.LEVEL], dx)]
            steps += self._only_valid(dx, piece)
        return steps

    # --- sums -------------------------------------------------------------------------------------------------

    def _sum(self, which: int, i: int, source: Array, spare: Array) -> list[Step]:
        """Column sums of the source, through the spare array when it has no rows or not all of it counts."""
        spare = spare[: len(source)]
        if self.valid is not None:
            valid = self.valid[self.pieces[i]]
            return [partial(np.multiply, source, valid, spare), self._column_sums(which, i, spare)]
        if not source.flags.c_contiguous:
            return [partial(np.copyto, spare, source), self._column_sums(which, i, spare)]
        return [self._column_sums(which, i, source)]

    def _column_sums(self, which: int, i: int, t: Array) -> Step:
        flat = t.reshape(-1, t.shape[-1])
        return partial(np.ones(len(flat), flat.dtype).dot, flat, self.sums[which, i])

    def _only_valid(self, t: Array, piece: slice) -> list[Step]:
        return [] if self.valid is None else [partial(np.multiply, t, self.valid[piece], t)]
