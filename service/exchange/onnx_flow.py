"""What flows through an ONNX graph: which of our numbers each place of a tensor holds, and the layers so far.

A tensor that only moves numbers about (Transpose, Reshape, Squeeze, a last step) needs no layer: `ids` is moved as the
numbers would be, and the layer that comes next turns its weights to fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.errors import InvalidData, TooLarge
from service.tensors import Array

BATCH = 2  # rows that are followed through a graph which leaves their number open
NUMBERS = 1 << 24  # of one tensor, with so many rows
ZERO, LEAST, NOTHING = -1, -2, -3  # ids of what a Pad put around: zeros, minus infinity; and what it cannot put
RECURRENT = ("simple_rnn", "lstm", "gru")

UNROLLED = (
    "Recurrent layers are read as one LSTM, GRU or RNN each, as PyTorch writes them. Keras' JSON is read by "
    "POST /v1/specs/import."
)


@dataclass(frozen=True)
class Flow:
    """A tensor of the graph. `ids`: in its own shape, each number's place in our (batch, *dims), or ZERO, LEAST."""

    name: str
    ids: Array


@dataclass
class Row:
    """The layers read so far, their weights by PyTorch's names, and the shape of a row behind them."""

    batch: int
    dims: tuple[int, ...]
    input_dims: tuple[int, ...]
    vocabulary: int | None = None
    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def add(self, layer: dict[str, Any], dims: tuple[int, ...], **weights: Array) -> None:
        for name, array in weights.items():
            self.weights[f"{len(self.layers)}.{name}"] = np.ascontiguousarray(array, np.float32)
        self.layers.append(layer)
        self.dims = dims

    def fresh(self, dims: tuple[int, ...] | None = None) -> Array:
        """The ids of our own order."""
        return fresh(self.batch, self.dims if dims is None else dims)

    def shaped(self, ids: Array) -> bool:
        """Whether the tensor is ours; a reshape is put before it where only that is missing."""
        if ids.shape[0] != self.batch or not np.array_equal(ids.reshape(-1), np.arange(self.batch * self.size)):
            return False
        dims = tuple(ids.shape[1:])
        if dims == self.dims:
            return True
        if len(dims) == 1:
            self.layers.append({"kind": "flatten"})
        else:
            self.layers.append({"kind": "reshape", "shape": list(dims)})
        self.dims = dims
        return True

    def turned(self, ids: Array, order: tuple[int, ...]) -> bool:
        """The same of an operator that wants the axes in this order; rows as they come in are taken so."""
        untouched = not self.layers and ids.shape == (self.batch, *self.input_dims)
        if untouched and order[0] == 0 and np.array_equal(ids, self.fresh()):
            self.dims = self.input_dims = tuple(ids.transpose(order).shape)[1:]
            return True
        return self.shaped(ids.transpose(order))

    def flat(self, ids: Array) -> Array | None:
        """Of (batch, n): which of our numbers each is, our row made flat; None when it is no order of all of them."""
        if ids.shape != (self.batch, self.size):
            return None
        places: Array = ids[0]
        whole = np.array_equal(np.sort(places), np.arange(self.size))
        if not whole or not np.array_equal(ids, places + np.arange(self.batch)[:, None] * self.size):
            return None
        self.shaped(self.fresh((self.size,)))
        return places

    def channels(self, ids: Array, axis: int) -> Array | None:
        """Which of our last axis each place on this axis is; None when it is another axis."""
        along = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1) % self.dims[-1]
        first = along[:, 0]
        fits = len(first) == self.dims[-1] and (along == first[:, None]).all()
        known: Array = first
        return known if fits and np.array_equal(np.sort(first), np.arange(len(first))) else None

    def last_step(self, ids: Array) -> Array:
        """A last step cut out of a sequence is the recurrent layer's own last output."""
        layer = self.layers[-1] if self.layers else {}
        one = layer.get("layer", layer)
        if one.get("kind") not in RECURRENT or one["output"] == "last" or ids.size != self.batch * self.dims[-1]:
            return ids
        time, wide = self.dims
        rows, rest = np.divmod(ids, time * wide)
        backwards = rest % wide >= one["units"]  # read from the end: its last step is the first
        if (rest // wide != np.where(backwards, 0, time - 1)).any():
            return ids
        one["output"], self.dims = "last", (wide,)
        return np.asarray(rows * wide + rest % wide)

    @property
    def size(self) -> int:
        return math.prod(self.dims)


def fresh(batch: int, dims: tuple[int, ...]) -> Array:
    """Raises TooLarge before anything is allocated."""
    numbers = batch * math.prod(dims)
    if numbers > NUMBERS:
        raise TooLarge(f"a tensor of the model has {numbers:,} numbers, more than {NUMBERS:,}")
    return np.arange(numbers).reshape(batch, *dims)


def refused(node: Any, why: str, hint: str | None = None) -> InvalidData:
    """The node by its name and operator."""
    hint = hint or "A row of layers of our vocabulary is read; GET /openapi.json lists them."
    return InvalidData(f"node {node.name or node.output[0]!r} ({node.op_type}): {why}"[:500], hint=hint)


@dataclass(frozen=True)
class Call:
    """A node and what it is called with: the flowing tensor, and its constants by their place (None: left out)."""

    node: Any
    flow: Flow
    at: int  # which input flows
    constants: tuple[Array | None, ...]
    about: dict[str, Any]

    def constant(self, at: int) -> Array | None:
        return self.constants[at] if at < len(self.constants) else None

    def needed(self, at: int) -> Array:
        found = self.constant(at)
        if found is None:
            raise self.no(f"its input {at} is not a constant")
        return found

    def no(self, why: str, hint: str | None = None) -> Exception:
        return refused(self.node, why, hint)
