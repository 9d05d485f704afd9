"""A convolution with batch normalisation behind it, then ReLU and a max pool: no pass over the whole output but two."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise

import numpy as np

from service.engine.contract import Array, Site, Step
from service.engine.fast import clip
from service.engine.layers.batch_norm import BatchNorm
from service.engine.layers.bench import Bench
from service.engine.layers.conv_stage import Stage, bind_stage
from service.engine.layers.epilogue import largest, winners
from service.engine.layers.kernel import blocks_of, corner, in_turn, overhang

RUN = 2048  # numbers of a run from which it need not be longer
LONGEST = 65_536  # numbers of a run beyond which copies of the factors would crowd the cache


def bind_folded(stage: Stage, norm: BatchNorm, site: Site) -> tuple[Step, Step]:
    """With running statistics the normalisation is a factor of the weights: y = x * (W scale) + b scale + shift."""
    W, b, filters = site.theta["weight"], site.theta.get("bias"), stage.filters
    both = site.loose("folded", (W.size + filters,))
    weight, bias = both[: W.size].reshape(W.shape), both[W.size :]

    def fold() -> None:
        mean, variance = site.state["1+running_mean"], site.state["1+running_var"]
        scale = site.theta["1+weight"] / np.sqrt(variance + norm.epsilon)
        np.multiply(W, scale, weight)
        bias[:] = site.theta["1+bias"] + ((0 if b is None else b) - mean) * scale

    forward, backward = bind_stage(stage, replace(site, theta={"weight": weight, "bias": bias}))
    return in_turn(fold, forward), backward


def normed_memory(stage: Stage, rows: int) -> int:
    """Numbers of working memory in training: the stage's own, and the whole output before and after the pool."""
    whole = int(np.prod(stage.window.out)) * stage.filters
    return replace(stage, whole=True).memory(rows, True) + rows * (whole * 5 // 4)


def bind_normed(stage: Stage, norm: BatchNorm, site: Site) -> tuple[Step, Step]:
    """(forward, backward) in training.

    z goes through the cache once each way; what depends on the whole batch (mean and variance, the sums of dy) waits
    for all blocks. The maximum comes before the normalisation, which would turn it around where gamma < 0: so the
    filters are multiplied by gamma's sign, and |gamma| takes gamma's place. b moves nothing but the running mean.
    """
    normed = _Normed(replace(stage, whole=True), norm, site)
    blocks = [_Block(normed, i) for i in range(len(normed.blocks))]
    forward = [step for block in blocks for step in block.forward()]
    outward = [step for block in blocks for step in block.outward()]
    sums = [step for block in blocks for step in block.sums()]
    backward = [step for block in blocks for step in block.backward()]
    method = normed.method
    ahead = in_turn(normed.turn, *method.prepare, *forward, normed.learn, *outward)
    return ahead, in_turn(*sums, normed.slopes, *method.begin, *backward, *method.finish, normed.turn_back)


class _Normed:
    """What the blocks of one stage share.

    One number per channel each: y = relu(top scale + shift) and dz = dy scale + z slope + level; `wide` holds them,
    by the rows of a block, as wide as its runs. `moments`: (2, blocks, filters), of each block its mean and its sum of
    squares about it, later its sums of dy and dy (top - mean).
    """

    MEAN, SCALE, SHIFT, SLOPE, LEVEL, OWN = range(6)

    def __init__(self, stage: Stage, norm: BatchNorm, site: Site) -> None:
        self.stage, self.norm, self.site, f = stage, norm, site, stage.filters
        self.sign, self.signed = site.loose("sign", (f,)), site.loose("signed", site.theta["weight"].shape)
        gradient = {"weight": site.gradient["weight"]}
        inner = replace(site, theta={"weight": self.signed}, gradient=gradient, path=f"{site.path}.conv")
        self.task, algorithm = stage.choose(site.rows, True)
        self.method = algorithm.method(self.task, inner)
        self.out = int(np.prod(stage.window.out)) * f
        self.blocks = blocks_of(site.rows, algorithm.per_row(self.task) + self.out)
        self.bench = Bench(self.task, self.method, inner, len(self.blocks) == 1)
        widest = self.blocks[0].stop
        self.spare = [site.loose(name, (widest * self.out,)) for name in "tu"]
        self.z = site.scratch("z", (self.out,)).reshape(-1)
        self.top = site.scratch("top", (site.plan.shape.size,)).reshape(-1) if stage.pool else self.z
        masks = self.task.parts + 1 if stage.pool else 1
        self.passes = site.scratch("passes", (masks * site.plan.shape.size,), np.bool_).reshape(-1)
        self.moments = site.loose("moments", (2, len(self.blocks), f))
        self.factors = site.loose("factors", (6, f))
        self.wide = {n: self._wide(n) for n in {each.stop - each.start for each in self.blocks}}
        self.rstd = site.loose("rstd", (f,))
        self.counts = np.array([(each.stop - each.start) * self.out // f for each in self.blocks])[:, None]

    def turn(self) -> None:
        """The filters by gamma's sign."""
        np.copysign(1, self.site.theta["1+weight"], self.sign)
        np.multiply(self.site.theta["weight"], self.sign, self.signed)

    def turn_back(self) -> None:
        gradient = self.site.gradient
        np.multiply(gradient["weight"], self.sign, gradient["weight"])
        if "bias" in gradient:
            gradient["bias"].fill(0)

    def learn(self) -> None:
        """Mean and variance of the batch from those of its blocks (Chan et al. 1979); the running ones follow."""
        site, f, count = self.site, self.factors, int(self.counts.sum())
        means, squares = self.moments
        mean = (means * self.counts).sum(0) / count
        variance = (squares.sum(0) + ((means - mean) ** 2 * self.counts).sum(0)) / count
        np.divide(1, np.sqrt(variance + self.norm.epsilon), self.rstd)
        f[self.MEAN] = mean
        np.multiply(np.absolute(site.theta["1+weight"]), self.rstd, f[self.SCALE])
        np.subtract(site.theta["1+bias"], mean * f[self.SCALE], f[self.SHIFT])
        self._widen(self.MEAN, self.SCALE, self.SHIFT)
        self.norm.follow(site.state, "1+", mean * self.sign + site.theta.get("bias", 0), variance, count)

    def slopes(self) -> None:
        gradient, f, count = self.site.gradient, self.factors, int(self.counts.sum())
        d_shift, d_scale = self.moments.sum(1)
        gradient["1+bias"][:] = d_shift
        np.multiply(d_scale, self.rstd, d_scale)
        np.multiply(d_scale, self.sign, gradient["1+weight"])
        f[self.SLOPE] = -f[self.SCALE] * self.rstd * d_scale / count
        f[self.LEVEL] = -f[self.SCALE] * d_shift / count - f[self.MEAN] * f[self.SLOPE]
        self._widen(self.SLOPE, self.LEVEL)

    def _wide(self, rows: int) -> Array:
        """(6, positions of the last axis, rows, filters), or one position where that is long enough for a run."""
        run, along = rows * self.stage.filters, self.task.grid[-1]
        return self.site.loose(
            f"wide{rows}", (6, along if run < RUN and run * along < LONGEST else 1, rows, self.stage.filters)
        )

    def _widen(self, *which: int) -> None:
        for each in which:
            for wide in self.wide.values():
                wide[each] = self.factors[each]


class _Block:
    """The steps of one block.

    `z`: the kernel's parts without what hangs over; `kept`: where they stay until backward, `all` of them one behind
    the other, (positions, rows, filters). `top`: what y is made of, one array after a pool, else the parts.
    `covered`: what of the parts a gradient comes to from y. `on`: where ReLU lets through; `passes`: to which part.
    """

    def __init__(self, normed: _Normed, i: int) -> None:
        self.normed, self.i, self.rows = normed, i, normed.blocks[i]
        n, task, f, site = self.rows.stop - self.rows.start, normed.task, normed.stage.filters, normed.site
        self.kernel, self.into, self.out = normed.bench.block(self.rows)
        self.y, self.dy = (normed.bench.cut(each, self.rows) for each in (site.y, site.dy))
        self.wide = normed.wide[n]
        real = [task.real(part) for part in task.each_part()]
        self.z = [corner(z, extents) for z, extents in zip(self.kernel.z, real, strict=True)]
        self.all = self._mine(normed.z).reshape(-1, n, f)
        self.shapes = [(*extents, n, f) for extents in real]
        self.kept = _split(self.all, self.shapes)
        self.pool = normed.stage.pool is not None
        self.top = [self._mine(normed.top).reshape(self.y.shape)] if self.pool else self.kept
        self.covered = [corner(z, self.y.shape[: task.rank]) for z in self.kernel.z] if self.pool else self.z
        passes = self._mine(normed.passes).reshape(-1, *self.y.shape)
        self.passes, self.on = passes[:-1], passes[-1]

    def _mine(self, array: Array) -> Array:
        """This block's share of an array of all rows."""
        each = array.size // self.normed.site.rows
        return array[self.rows.start * each : self.rows.stop * each]

    def _tile(self, which: int, like: Array) -> Array:
        """One of the factors, as wide as the last axis of space of this array."""
        wide: Array = self.wide[which]
        return wide[: like.shape[-3]] if len(wide) > 1 else wide

    def _spare(self, which: int, like: Array) -> Array:
        return self.normed.spare[which][: like.size].reshape(like.shape)

    def _sum(self, t: Array, out: Array) -> Step:
        flat = t.reshape(-1, t.shape[-1])
        return partial(np.ones(len(flat), flat.dtype).dot, flat, out)

    def forward(self) -> list[Step]:
        """z of the block, kept; its moments; its largest of each window."""
        shared, (mean, squares) = self.normed, self.normed.moments[:, self.i]
        t = self._spare(0, self.all)
        steps: list[Step] = [*self.into, self.kernel.forward]
        steps += [partial(np.copyto, kept, z) for kept, z in zip(self.kept, self.z, strict=True)]
        steps += [self._sum(self.all, mean), partial(np.divide, mean, shared.counts[self.i], mean)]
        steps.append(partial(np.copyto, self.wide[shared.OWN], mean))
        for kept, part in zip(self.kept, _split(t, self.shapes), strict=True):
            steps.append(partial(np.subtract, kept, self._tile(shared.OWN, kept), part))
        steps += [partial(np.multiply, t, t, t), self._sum(t, squares)]
        return steps + (largest(self.covered, self.top[0], self.passes) if self.pool else [])

    def outward(self) -> list[Step]:
        """y, once mean and variance are known."""
        shared, steps = self.normed, list[Step]()
        zero, infinity = np.zeros((), self.y.dtype), np.array(np.inf, self.y.dtype)
        for top, place in zip(self.top, self._places(self.y), strict=True):
            u = self._spare(0, top)
            steps.append(partial(np.multiply, top, self._tile(shared.SCALE, top), u))
            steps.append(partial(np.add, u, self._tile(shared.SHIFT, top), place))
        if shared.stage.relu:
            steps += [partial(clip, self.y, zero, infinity, self.y), partial(np.greater, self.y, zero, self.on)]
        if self.pool:
            first = self.passes[0]
            begin: Step = partial(np.copyto, first, self.on) if shared.stage.relu else partial(first.fill, 1)
            steps += [begin, *winners(self.passes)]
        return steps

    def sums(self) -> list[Step]:
        """Sums of dy, where it comes through, and of dy (top - mean)."""
        shared, (plain, product) = self.normed, self.normed.moments[:, self.i]
        whole = self.top[0] if self.pool else self.all
        t, u = self._spare(0, whole), self._spare(1, whole)
        shapes = [top.shape for top in self.top]
        steps = [*self._through(_split(t, shapes)), self._sum(t, plain)]
        for top, part in zip(self.top, _split(u, shapes), strict=True):
            steps.append(partial(np.subtract, top, self._tile(shared.MEAN, top), part))
        return [*steps, partial(np.multiply, u, t, u), self._sum(u, product)]

    def backward(self) -> list[Step]:
        """dz, once the sums are known, and what the kernel makes of it."""
        shared, whole = self.normed, self.top[0] if self.pool else self.all
        parts = _split(self._spare(0, whole), [top.shape for top in self.top])
        steps: list[Step] = [] if shared.bench.alone else [*self.into]
        steps += overhang(shared.task, self.kernel.z)
        for z, kept in zip(self.z, self.kept, strict=True):
            steps.append(partial(np.multiply, kept, self._tile(shared.SLOPE, kept), z))
            steps.append(partial(np.add, z, self._tile(shared.LEVEL, z), z))
        steps += self._through(parts)
        steps += [partial(np.multiply, part, self._tile(shared.SCALE, part), part) for part in parts]
        u = self._spare(1, parts[0])
        for i, dz in enumerate(self.covered):
            if self.pool:
                steps += [partial(np.multiply, parts[0], self.passes[i], u), partial(np.add, dz, u, dz)]
            else:
                steps.append(partial(np.add, dz, parts[i], dz))
        return [*steps, self.kernel.backward, *self.out]

    def _through(self, parts: list[Array]) -> list[Step]:
        """dy where ReLU lets it through, part by part."""
        places = zip(parts, self._places(self.dy), self._places(self.on), strict=True)
        if self.normed.stage.relu:
            return [partial(np.multiply, dy, on, part) for part, dy, on in places]
        return [partial(np.copyto, part, dy) for part, dy, _ in places]

    def _places(self, y: Array) -> list[Array]:
        """What each of `top` becomes in y."""
        if self.pool:
            return [y]
        task = self.normed.task
        return [y[tuple(slice(i, None, p) for i, p in zip(part, task.phase, strict=True))] for part in task.each_part()]


def _split(whole: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Arrays of these shapes, one behind the other in the same memory."""
    flat = whole.reshape(-1)
    ends = accumulate((int(np.prod(shape)) for shape in shapes), initial=0)
    return [flat[i:j].reshape(shape) for (i, j), shape in zip(pairwise(ends), shapes, strict=True)]
