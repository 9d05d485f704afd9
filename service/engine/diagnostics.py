"""What a network looks like inside: the gradient that reaches each layer and each step of time, units that are dead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.engine.arena import Arena
from service.engine.contract import Array, Signature
from service.engine.fast import stepping
from service.engine.feed import Examples
from service.engine.inference import Network
from service.engine.layers.gru import Gru
from service.engine.layers.lstm import Lstm
from service.engine.layers.simple_rnn import SimpleRnn
from service.engine.network import Compiled, kind_of
from service.engine.program import Memory, Program, Setting
from service.engine.recipe import Recipe

MOST_ROWS = 32
_BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_FAINT = 0.01  # share of a gradient's size in time that still teaches something
_LOST = 1e-4  # the same from layer to layer, where sizes differ by nature
_MANY = 0.5  # share of units that are worth a word
_NEAR = 0.01  # share of the way between the bounds that counts as at one


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One layer on some rows; what does not apply is None.

    `weight_norm`, `gradient_norm`: Euclidean, of all it trains, the gradient that of the mean loss. `dead_units`: share
    of the units behind a ReLU that are 0 for every row and place: nothing reaches their weights. `saturated`: share of
    the outputs of a sigmoid or tanh within 1 % of a bound. `gradient_by_time`: see `gradient_by_time`.
    `gradient_reach`: how many steps before the last one it still has a hundredth of its largest size.
    """

    index: int
    kind: str
    parameters: int
    weight_norm: float | None
    gradient_norm: float | None
    dead_units: float | None
    saturated: float | None
    gradient_by_time: list[float] | None
    gradient_reach: int | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every layer, looked at on so many rows. `findings`: what keeps some of it from learning, in words."""

    rows: int
    layers: tuple[LayerDiagnosis, ...]
    findings: tuple[str, ...]


def diagnose(
    recipe: Recipe, signature: Signature, outputs: int, weights: Mapping[str, Array], rows: Examples
) -> Diagnosis:
    """Every layer on the first of these rows, at most 32, in one step of training that moves nothing."""
    lengths = None if rows.lengths is None else rows.lengths[:MOST_ROWS]
    some = Examples(rows.x[:MOST_ROWS], rows.y[:MOST_ROWS], lengths)
    net = Compiled(recipe.network, signature, recipe.dtype)
    memory, _, _ = _stepped(net, recipe, signature, weights, some)
    theta, gradient = net.trained.views(memory.theta), net.trained.views(memory.gradient)
    network = Network(recipe.network, signature, outputs, weights, dtype=recipe.dtype)
    times = gradient_by_time(recipe, signature, weights, some)
    found: list[LayerDiagnosis] = []
    for index, layer in enumerate(recipe.network.layers):
        mine = [name for name in theta if name.split(".", 1)[0] == str(index)]
        last = kind_of([part.layer for part in net.plan.parts if part.index == index][-1])
        y = network.layer(index)(some.x, some.lengths) if last in ("relu", *_BOUNDS) else None
        found.append(
            LayerDiagnosis(
                index=index,
                kind=kind_of(layer),
                parameters=sum(theta[name].size for name in mine),
                weight_norm=_length([theta[name] for name in mine]) if mine else None,
                gradient_norm=_length([gradient[name] for name in mine]) if mine else None,
                dead_units=_dead(y) if y is not None and last == "relu" else None,
                saturated=_saturated(y, *_BOUNDS[last]) if y is not None and last in _BOUNDS else None,
                gradient_by_time=times.get(str(index)),
                gradient_reach=_reach(times.get(str(index))),
            )
        )
    return Diagnosis(len(some), tuple(found), tuple(_findings(found)))


def _reach(by_time: list[float] | None) -> int | None:
    if not by_time or not all(map(math.isfinite, by_time)) or max(by_time) == 0:
        return None
    least = _FAINT * max(by_time)
    return len(by_time) - 1 - next(at for at, size in enumerate(by_time) if size >= least)


def _findings(layers: Sequence[LayerDiagnosis]) -> Iterator[str]:
    """What a reader of these numbers would say."""
    strongest = max((each.gradient_norm or 0.0 for each in layers), default=0.0)
    for layer in layers:
        name = f"layer {layer.index} ({layer.kind})"
        if layer.gradient_norm is not None and layer.gradient_norm < _LOST * strongest:
            yield f"{name}: its gradient is {layer.gradient_norm / strongest:.0e} of the largest, it hardly learns"
        if (layer.dead_units or 0.0) >= _MANY:
            yield f"{name}: {layer.dead_units:.0%} of its units are 0 for every row; a smaller rate, or leaky_relu"
        if (layer.saturated or 0.0) >= _MANY:
            yield f"{name}: {layer.saturated:.0%} of its outputs are at a bound, where little gradient passes"
        if layer.gradient_by_time and layer.gradient_reach is not None:
            yield from _in_time(name, layer.kind, layer.gradient_by_time, layer.gradient_reach)


def _in_time(name: str, kind: str, by_time: list[float], reach: int) -> Iterator[str]:
    steps = len(by_time) - 1
    if by_time[0] > by_time[-1] / _FAINT > 0:
        yield f"{name}: the gradient grows {by_time[0] / by_time[-1]:.0e}-fold over {steps} steps back; set clip_norm"
    elif reach < steps:
        other = "; lstm and gru can carry it further" if kind == "simple_rnn" else ""
        yield (
            f"{name}: {reach} steps back the last answer's gradient is down to a hundredth, of {steps} steps it sees:"
            f" what was longer ago is hardly learned{other}"
        )


def gradient_by_time(
    recipe: Recipe, signature: Signature, weights: Mapping[str, Array], rows: Examples
) -> dict[str, list[float]]:
    """By recurrent layer ("1"): the norm of dL/dh_t for every step t, L being the loss of the last answer alone.

    Where it vanishes, what happened so long ago cannot be learned. Bengio, Simard and Frasconi 1994.
    """
    net = Compiled(recipe.network, signature, recipe.dtype)
    if not any(isinstance(layer, SimpleRnn | Lstm | Gru) for layer in recipe.network.layers):
        return {}
    if len(net.plan.out.dims) == 2:  # an answer at every step
        signature = replace(signature, timed=True)
        net = Compiled(recipe.network, signature, recipe.dtype)
        rows = Examples(rows.x, rows.y, np.full(len(rows), signature.shape[0]))
    _, program, arena = _stepped(net, recipe, signature, weights, rows, only_last=True)
    found = {str(part.index): arena.known(f"net.{i}.dh", len(rows)) for i, part in enumerate(program.row.parts)}
    return {layer: [_length([each]) for each in dh[1:]] for layer, dh in found.items() if dh is not None}


def _stepped(
    net: Compiled, recipe: Recipe, signature: Signature, weights: Mapping[str, Array], rows: Examples,
    only_last: bool = False,
) -> tuple[Memory, Program, Arena]:  # fmt: skip
    """One step forward and back on all of `rows`; with `only_last` the loss is that of the last answer of each row."""
    memory, arena = Memory(*(each.empty(net.dtype) for each in (net.trained, net.trained, net.kept))), Arena()
    net.load(weights, memory.theta, memory.state)
    setting = Setting(len(rows), training=True, masked=rows.lengths is not None)
    program = Program(net, recipe.loss, signature, setting, memory, arena)
    program.load(rows, np.arange(len(rows)), 0)
    if only_last and program.mask is not None:
        program.mask[0, :, :-1] = 0
    program.divisors[:1] = program.own_divisors(0, 1)
    with stepping():
        for step in program.steps.of(0):
            step()
    return memory, program, arena


def _length(arrays: Sequence[Array]) -> float:
    """Euclidean, of all of them together."""
    return math.sqrt(sum(float(np.square(each, dtype=np.float64).sum()) for each in arrays))


def _dead(y: Array) -> float:
    return float((y == 0).reshape(-1, y.shape[-1]).all(axis=0).mean())


def _saturated(y: Array, low: float, high: float) -> float:
    near = _NEAR * (high - low)
    return float(((y < low + near) | (y > high - near)).mean())
