"""Activations, gates and layer norm written out in simple operators: told by what they do, not by how they look.

Exporters spell GELU, SiLU, softplus and normalisation in many ways. The nodes between one tensor and the next that
alone is read further on are worked out on numbers of ours; what gives the same as a layer of the vocabulary is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.exchange.onnx_flow import Row
from service.exchange.onnx_reckon import bounded, reckon
from service.exchange.predictor import ACTIVATIONS, swiglu
from service.tensors import Array

LONGEST = 40  # nodes of one region
SIMPLE = frozenset({
    "Add", "Sub", "Mul", "Div", "Neg", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Pow", "Tanh", "Sigmoid", "Relu",
    "Abs", "Max", "Min", "Where", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "Cast", "Identity",
    "Softplus", "Elu", "LeakyRelu", "Gelu", "Clip", "ReduceMean", "Split", "Slice",
})  # fmt: skip
FOLDED = frozenset({"Constant", "Add", "Sub", "Mul", "Div", "Cast", "Gather", "Unsqueeze", "Squeeze", "Concat"})
ALONE = frozenset({"Neg", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Pow", "Abs", "Max", "Min", "ReduceMean", "Split"})
"""Those that no layer of ours is by itself, so that a region may begin with one."""
_GRID = np.linspace(-6, 6, 385, dtype=np.float32)
WITHIN = 1e-5


@dataclass(frozen=True)
class Region:
    """A layer, the nodes that it stands for, and the tensor that it gives."""

    layer: dict[str, Any]
    nodes: frozenset[int]
    output: str
    weights: dict[str, Array] = field(default_factory=dict)


class Regions:
    """Who reads what, so that an end is seen where nothing before it is read further on."""

    def __init__(self, model: Any, output: str) -> None:
        self._model, self._nodes = model, list(model.graph.node)
        self._readers: dict[str, set[int]] = {output: {-1}}
        self._beside: dict[str, frozenset[int]] = {}
        for at, node in enumerate(self._nodes):
            for name in node.input if node.op_type != "Shape" else ():
                self._readers.setdefault(name, set()).add(at)

    def join(self, start: int, name: str) -> int | None:
        """The sum that this tensor goes into beside what is made of it from this node on: a block's end."""
        sums = [at for at in self._reads(name) if at > start and self._nodes[at].op_type == "Add"]
        ends = [at for at in sums if len(set(self._nodes[at].input)) == 2]
        return max(ends, default=None)

    def within(self, name: str, end: int) -> Regions:
        """The same inside a block: that its end reads the tensor is nothing to what is made of it."""
        found = copy(self)
        found._beside = {**self._beside, name: self._beside.get(name, frozenset()) | {end}}
        return found

    def _reads(self, name: str) -> Set[int]:
        return self._readers.get(name, set()) - self._beside.get(name, frozenset())

    def at(self, start: int, name: str, ids: Array, constants: Mapping[str, Array], row: Row) -> Region | None:
        """The region that begins with this node, or None."""
        alone = self._nodes[start].op_type in ALONE
        if self._nodes[start].op_type not in SIMPLE or (len(self._reads(name)) < 2 and not alone):
            return None
        inside, taken, known = {name}, list[int](), dict(constants)
        for at in range(start, min(start + LONGEST, len(self._nodes))):
            node = self._nodes[at]
            if self._aside(node, name, ids, inside, known):
                continue
            if node.op_type not in SIMPLE or any(
                each and each not in inside and each not in known for each in node.input
            ):
                return None
            taken.append(at)
            inside |= {each for each in node.output if each}
            open_ends = (self._reads(each) - set(taken) for each in inside - {node.output[0]})
            if len(taken) > 1 and not any(open_ends):
                found = self._match(name, ids, taken, known, row)
                if found is not None:
                    return found
        return None

    def _aside(self, node: Any, name: str, ids: Array, inside: set[str], known: dict[str, Array]) -> bool:
        """Whether the node does nothing to what flows; what it makes of constants and of the shape is known then."""
        if node.op_type == "Shape" and node.input[0] == name:
            known[node.output[0]] = np.array(ids.shape)
        elif inside & set(node.input):
            return False
        elif node.op_type in FOLDED and all(each in known for each in node.input if each):
            given = {each: known[each] for each in node.input if each}
            bounded(node, list(given.values()))
            known[node.output[0]] = reckon(self._model, [node], given)
        return True

    def _match(self, name: str, ids: Array, taken: list[int], known: Mapping[str, Array], row: Row) -> Region | None:
        nodes = [self._nodes[at] for at in taken]
        given = {each: known[each] for node in nodes for each in node.input if each in known}

        def function(x: Array) -> Array:
            with np.errstate(all="ignore"):
                return reckon(self._model, nodes, {**given, name: x})

        if any(each.size not in (1, ids.shape[-1]) for each in given.values()):
            return None
        if any(node.op_type in ("Split", "Slice") for node in nodes):
            layer, weights = _gate(function, ids, row), {}
        elif any(node.op_type == "ReduceMean" for node in nodes):
            found = _layer_norm(function, ids, list(given.values()), row)
            weights = {} if found is None else found[1]
            layer = None if found is None else found[0]
        elif all(each.size == 1 for each in given.values()):
            layer, weights = _activation(function), {}
        else:
            return None
        return None if layer is None else Region(layer, frozenset(taken), nodes[-1].output[0], weights)


def _gate(function: Callable[[Array], Array], ids: Array, row: Row) -> dict[str, Any] | None:
    """swiglu: the first half of the last axis, through silu, times the second."""
    places = row.channels(ids, -1)
    if places is None or not np.array_equal(places, np.arange(len(places))):
        return None
    x = np.random.default_rng(0).normal(0, 2, (2, *ids.shape[1:])).astype(np.float32)
    wanted, found = swiglu(x.astype(np.float64)) if x.shape[-1] % 2 == 0 else x, function(x)
    same = found.shape == wanted.shape and np.allclose(found, wanted, rtol=WITHIN, atol=WITHIN)
    return {"kind": "swiglu"} if same else None


def _activation(function: Callable[[Array], Array]) -> dict[str, Any] | None:
    """The activation of ours that gives the same between -6 and 6."""
    y = function(_GRID)
    if y.shape != _GRID.shape or y.dtype != np.float32:
        return None
    below = float(function(np.full(1, -1, np.float32))[0])
    candidates: list[dict[str, Any]] = [{"kind": kind} for kind in ("relu", "sigmoid", "tanh", "silu", "softplus")]
    candidates += [{"kind": "gelu", "approximate": word} for word in ("none", "tanh")]
    candidates += [{"kind": "leaky_relu", "slope": -below}] if 0 < -below < 1 else []
    candidates += [{"kind": "elu", "alpha": float(below / np.expm1(-1))}] if below < 0 else []
    for each in candidates:
        if np.allclose(ACTIVATIONS[each["kind"]](_GRID.astype(np.float64), each), y, rtol=WITHIN, atol=WITHIN):
            return each
    return None


def _layer_norm(
    function: Callable[[Array], Array], ids: Array, constants: list[Array], row: Row
) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis; epsilon is one of the constants."""
    places = row.channels(ids, -1)
    if places is None or not np.array_equal(places, np.arange(len(places))):
        return None
    chance, shape = np.random.default_rng(0), (2, *ids.shape[1:])
    x = chance.normal(0, 1, shape).astype(np.float32)
    beta = function(np.zeros(shape, np.float32))
    if beta.shape != shape:
        return None
    beta = beta.reshape(-1, shape[-1])[0]
    far = (function(1e3 * x) - beta).reshape(-1, shape[-1])
    straight = _normed(1e3 * x, 0.0).reshape(-1, shape[-1])
    best = np.abs(straight).argmax(0), np.arange(shape[-1])
    gamma = far[best] / straight[best]
    for epsilon in {
        float(each.reshape(-1)[0]) for each in constants if each.size == 1 and 0 < each.reshape(-1)[0] <= 1
    }:
        if all(
            np.allclose(function(s * x), gamma * _normed(s * x, epsilon) + beta, rtol=1e-3, atol=1e-4)
            for s in (1, 0.03)
        ):
            return {"kind": "layer_norm", "epsilon": epsilon}, {"weight": gamma, "bias": beta}
    return None


def _normed(x: Array, epsilon: float) -> Array:
    wide = x.astype(np.float64)
    wide = wide - wide.mean(-1, keepdims=True)
    found: Array = wide / np.sqrt((wide * wide).mean(-1, keepdims=True) + epsilon)
    return found
