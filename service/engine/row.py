"""A row of layers: planned shape by shape, bound buffer by buffer; the network is one, a residual block holds one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.engine.contract import Initial, LayerPlan, LayerSpec, Layout, Parameter, Shape, Site, Step, Unfit

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One layer to be bound. `index`: its place in the spec's list; names and faults begin with it."""

    index: int
    layer: LayerSpec
    shape: Shape
    plan: LayerPlan

    def full_name(self, parameter: Parameter) -> str:
        """`0.weight`; what a fused layer took over from the one behind it, `1+weight`, is the next one's."""
        further, _, name = parameter.name.rpartition("+")
        return f"{self.index + int(further or 0)}.{name}"


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Every part with its shapes; `parameters` carry the layer's number: `0.weight`."""

    parts: tuple[Part, ...]
    shape: Shape
    out: Shape

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(replace(each, name=p.full_name(each)) for p in self.parts for each in p.plan.parameters)

    @property
    def flops(self) -> int:
        return sum(part.plan.flops for part in self.parts)

    def memory(self, rows: int, backward: bool) -> int:
        """Numbers between its ends: outputs that have memory of their own, and the layers' working memory."""
        outputs = [part.plan.shape.size for part, own in zip(self.parts, self.owners(backward), strict=True) if own]
        own = (part.layer.memory(part.shape, part.plan, rows, backward) for part in self.parts)
        return rows * sum(outputs) + sum(own)

    @property
    def widest(self) -> int:
        """The longest row that a gradient is kept for, beyond the first layer's input."""
        return max((part.shape.size for part in self.parts[1:]), default=0)

    def owners(self, backward: bool) -> list[bool]:
        """Whether each part's output has memory of its own; the last one's is given."""
        found, fixed = [], True
        for part in self.parts:
            layer = part.layer
            found.append(not layer.alias and (fixed or not layer.overwrites))
            fixed = (layer.reads_output and backward) or (layer.alias and fixed)
        return [*found[:-1], False]

    @property
    def couples_rows(self) -> bool:
        return any(part.layer.couples_rows for part in self.parts)


class Unfits(Exception):  # noqa: N818  a finding
    """Every fault found in a row, each with its layer's index."""

    def __init__(self, faults: Sequence[tuple[int, Unfit]]) -> None:
        super().__init__("; ".join(f"layer {index}: {fault.message}" for index, fault in faults))
        self.faults = tuple(faults)


def plan_row(layers: Sequence[LayerSpec], shape: Shape) -> RowPlan:
    """Shapes from the first layer to the last. Raises Unfits with every fault that can be found."""
    parts: list[Part] = []
    faults: list[tuple[int, Unfit]] = []
    now = shape
    try:
        for index, layer in enumerate(layers):
            for piece in layer.parts():
                plan = _fit(piece, now, index, faults)
                parts.append(Part(index, piece, now, plan))
                now = plan.shape
    except _Stop:
        raise Unfits(faults) from None
    if faults:
        raise Unfits(faults)
    return RowPlan(tuple(_with_starts(parts)), shape, now)


class _Stop(Exception):  # noqa: N818  a sign, not an error
    """The shape behind a fault is unknown: nothing after it can be judged."""


def _fit(layer: LayerSpec, shape: Shape, index: int, faults: list[tuple[int, Unfit]]) -> LayerPlan:
    try:
        if shape.vocabulary is not None and not layer.takes_indices:
            hint = "begin with an embedding or a recurrent layer"
            raise Unfit("takes numbers, but its input is ids of a vocabulary", hint=hint)
        return layer.plan(shape)
    except Unfit as fault:
        faults.append((index, fault))
        if fault.assume is None:
            raise _Stop from None
        return LayerPlan(fault.assume)


def _with_starts(parts: list[Part]) -> list[Part]:
    """Weights without a word on their start get the one that the activation after them needs."""

    def settled(part: Part, gain: Initial) -> Part:
        given = tuple(
            replace(each, initial=gain) if each.fans and each.initial is None else each for each in part.plan.parameters
        )
        return replace(part, plan=replace(part.plan, parameters=given))

    after: list[Initial] = [part.layer.gain for part in parts[1:]] + ["glorot"]
    return [settled(part, gain) for part, gain in zip(parts, after, strict=True)]


def fuse(row: RowPlan) -> RowPlan:
    """The same row with neighbours merged where a layer offers it."""
    parts: list[Part] = []
    for part in row.parts:
        merged = parts[-1].layer.fuse(part.layer, parts[-1].shape) if parts else None
        if merged is None:
            parts.append(part)
        else:
            first = parts.pop()
            further = part.index - first.index
            came = (replace(each, name=f"{further}+{each.name}") for each in part.plan.parameters)
            plan = replace(merged.plan(first.shape), parameters=(*first.plan.parameters, *came))
            parts.append(Part(first.index, merged, first.shape, plan))
    return replace(row, parts=tuple(parts))


def bind_row(row: RowPlan, site: Site) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """(forward, backward) of all parts, in order of execution; the row's ends are the site's arrays."""
    values = _Values(row, site)
    gradients = _gradients(row, site, values.layouts)
    forward: list[Step] = []
    backward: list[Step] = []
    for i, part in enumerate(row.parts):
        x, y, dx, dy = values.views[i], values.views[i + 1], gradients[i], gradients[i + 1]
        if part.layer.alias:
            _alias(x, y, dx if site.backward else None, dy, forward, backward)
            continue
        inner = _inner_site(site, i, part, values.ones[i], (x, y, dx, dy))
        ahead, back = part.layer.bind(inner)
        if ahead is not None:
            forward.append(ahead)
        if back is not None and site.backward and (dx is not None or inner.gradient):
            backward.append(back)
    return tuple(forward), tuple(reversed(backward))


def _inner_site(
    site: Site, i: int, part: Part, ones: Array | None, arrays: tuple[Array, Array, Array | None, Array]
) -> Site:
    x, y, dx, dy = arrays

    def mine(named: dict[str, Array]) -> dict[str, Array]:
        full = {each.name: part.full_name(each) for each in part.plan.parameters}
        return {name: named[key] for name, key in full.items() if key in named}

    return replace(
        site, shape=part.shape, plan=part.plan, x=x, y=y, dx=dx, dy=dy, ones=ones, theta=mine(site.theta),
        gradient=mine(site.gradient), state=mine(site.state), path=f"{site.path}.{i}",
        lengths=site.lengths if part.shape.timed else None,
    )  # fmt: skip


def _alias(x: Array, y: Array, dx: Array | None, dy: Array, forward: list[Step], backward: list[Step]) -> None:
    """A reshape is free inside the row; at its ends, where arrays are given, it is a copy."""
    if not np.shares_memory(x, y):
        forward.append(partial(np.copyto, y, x.reshape(y.shape)))
    if dx is not None and not np.shares_memory(dx, dy):
        backward.append(partial(np.copyto, dx, dy.reshape(dx.shape)))


class _Values:
    """The arrays between the layers: each where its reader wants it, in its input's memory where that is allowed."""

    def __init__(self, row: RowPlan, site: Site) -> None:
        self.views: list[Array] = [site.x]
        self.ones: list[Array | None] = [site.ones]
        self.layouts: list[Layout] = ["rows"]
        wishes = layouts(row, site.rows)
        for i, (part, own) in enumerate(zip(row.parts, row.owners(site.backward), strict=True)):
            last = i + 1 == len(row.parts)
            wish = wishes[i + 1]
            x, dims = self.views[i], part.plan.shape.dims
            if last:
                self._add(site.y, None, "rows")
            elif part.layer.alias:
                self._add(x.reshape((site.rows, *dims)), None, "rows")
            elif not own and wish == self.layouts[i] != "ones":
                self._add(x, None, wish)
            else:
                name = f"{site.path}.{i}.y"
                view, ones = lay(site.arena.array, name, site.rows, dims, wish, site.y.dtype)
                self._add(view, ones, wish)

    def _add(self, view: Array, ones: Array | None, layout: Layout) -> None:
        self.views.append(view)
        self.ones.append(ones)
        self.layouts.append(layout)


def layouts(row: RowPlan, rows: int) -> list[Layout]:
    """How every part's input should lie, and the output: elementwise parts pass on what the part after them wants."""
    found: list[Layout] = ["rows"] * (len(row.parts) + 1)
    for i in range(len(row.parts) - 1, -1, -1):
        part, after = row.parts[i], found[i + 1]
        if part.layer.elementwise and part.shape.size == part.plan.shape.size:
            found[i] = (1, 0) if after == "ones" else after
        else:
            found[i] = part.layer.layout(part.shape, rows)
    for i, part in enumerate(row.parts):
        passes = part.layer.elementwise and i > 0 and found[i] == "rows" != found[i + 1]
        if passes or (part.layer.writes_rows and len(part.plan.shape.dims) > 1):
            found[i + 1] = "rows"
    return found


def lay(
    make: Callable[..., Array], name: str, rows: int, dims: tuple[int, ...], layout: Layout, dtype: Any
) -> tuple[Array, Array | None]:
    """A (rows, *dims) view of new memory in this layout, and the (n + 1, rows) array with its row of ones."""
    if layout == "ones":
        base = make(name, (dims[0] + 1, rows), dtype, rows=rows)
        base[-1] = 1
        return base[:-1].T, base
    shape = (rows, *dims)
    if layout == "rows":
        return make(name, shape, dtype, rows=rows), None
    base = make(name, tuple(shape[axis] for axis in layout), dtype, rows=rows)
    return base.transpose(np.argsort(layout)), None


def _gradients(row: RowPlan, site: Site, layouts: list[Layout]) -> list[Any]:
    """dx of every part, from the last to the first; two buffers by turns, or dy's own memory."""
    count = len(row.parts)
    found: list[Array | None] = [None] * (count + 1)
    found[count] = site.dy
    if not site.backward:
        return [site.dx, *([site.dy] * count)]
    trained = [any(each.trained for each in part.plan.parameters) for part in row.parts]
    turn = 0
    for i in range(count - 1, 0, -1):
        if site.dx is None and not any(trained[:i]):
            break
        part, dy = row.parts[i], found[i + 1]
        assert dy is not None
        same = axes_of(layouts[i]) == axes_of(layouts[i + 1])
        shared = part.layer.alias or (part.layer.elementwise and same)
        if shared and (dy.flags.c_contiguous or not part.layer.alias):
            found[i] = dy.reshape((site.rows, *part.shape.dims)) if part.layer.alias else dy
            continue
        pool = site.arena.array(f"{site.path}.d{turn}", (site.rows * row.widest,), site.dtype, rows=site.rows)
        found[i] = _pooled(pool, (site.rows, *part.shape.dims), layouts[i])
        turn ^= 1
    found[0] = site.dx
    return found


def axes_of(layout: Layout) -> Layout:
    """The order of axes alone."""
    return (1, 0) if layout == "ones" else layout


def _pooled(pool: Array, shape: tuple[int, ...], layout: Layout) -> Array:
    flat = pool[: int(np.prod(shape))]
    if layout == "rows":
        return flat.reshape(shape)
    layout = (1, 0) if layout == "ones" else layout
    return flat.reshape(tuple(shape[axis] for axis in layout)).transpose(np.argsort(layout))
