"""Every layer of the vocabulary in ONNX's operators. Channels are last with us and second there: windows are turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.engine import LayerSpec, Shape
from service.exchange.graph import Graph, Value
from service.tensors import Array


@dataclass(frozen=True)
class Writer:
    """Writes layers into a graph, reading their weights by PyTorch's names: `prefix` is `0.` for layer 0."""

    graph: Graph
    weights: Mapping[str, Array]
    prefix: str = ""

    def has(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def array(self, name: str) -> Array:
        return np.asarray(self.weights[self.prefix + name], np.float32)

    def weight(self, name: str, values: Array | None = None) -> str:
        """An initializer with the weight's own name; `values`: it in another layout."""
        given = self.array(name) if values is None else values
        return self.graph.named(self.prefix + name, given)

    def op(self, kind: str, x: Value, *more: str, **attributes: Any) -> Value:
        """A node that keeps the shape's rank."""
        return replace(x, name=self.graph.one(kind, x.name, *more, **attributes))


def write_row(layers: Sequence[Any], x: Value, writer: Writer) -> Value:
    """The layers one after the other, each with the activation it names."""
    for index, layer in enumerate(layers):
        x = write_layer(layer, x, replace(writer, prefix=f"{writer.prefix}{index}."))
    return x


def write_layer(layer: Any, x: Value, writer: Writer) -> Value:
    """One layer, and the activation it names."""
    for part in layer.parts():
        x = replace(WORDS[part.kind](part, x, writer), dims=_dims(part, x))
    return x


def _dims(layer: LayerSpec, x: Value) -> tuple[int, ...] | None:
    return None if x.dims is None else layer.plan(Shape(x.dims, x.vocabulary)).shape.dims


# --- dense, shapes ------------------------------------------------------------------------------------------


def _dense(layer: Any, x: Value, writer: Writer) -> Value:
    y = writer.op("MatMul", x, writer.weight("weight", writer.array("weight").T))
    return writer.op("Add", y, writer.weight("bias")) if writer.has("bias") else y


def _embedding(layer: Any, x: Value, writer: Writer) -> Value:
    return Value(writer.graph.one("Gather", writer.weight("weight"), x.name), x.rank + 1)


def _flatten(layer: Any, x: Value, writer: Writer) -> Value:
    return Value(writer.graph.one("Flatten", x.name, axis=1), 2)


def _reshape(layer: Any, x: Value, writer: Writer) -> Value:
    to = writer.graph.constant([0, *layer.shape], "int64")  # 0: as it is
    return Value(writer.graph.one("Reshape", x.name, to), 1 + len(layer.shape), x.vocabulary)


def _dropout(layer: Any, x: Value, writer: Writer) -> Value:
    return x  # of training only


def _residual(layer: Any, x: Value, writer: Writer) -> Value:
    return writer.op("Add", write_row(layer.layers, x, writer), x.name)


# --- windows ------------------------------------------------------------------------------------------------


def _turned(kind: str, x: Value, writer: Writer, *more: str, **attributes: Any) -> Value:
    """The operator between two turns: channels second, and last again."""
    space = range(1, x.rank - 1)
    ahead = writer.op("Transpose", x, perm=[0, x.rank - 1, *space])
    done = writer.op(kind, ahead, *more, **attributes)
    return writer.op("Transpose", done, perm=[0, *range(2, x.rank), 1])


def _window(layer: Any, x: Value, kernel: Sequence[int], strides: Sequence[int]) -> dict[str, Any]:
    """`same`: the odd zero comes behind. Told by number where sizes are known, for runtimes differ in the word."""
    about: dict[str, Any] = {"kernel_shape": list(kernel), "strides": list(strides)}
    if x.dims is not None:
        w = layer.window(Shape(x.dims))
        each = zip(w.needed(w.out), w.size, w.before, strict=True)
        return about | {"pads": [*w.before, *(max(need - size - before, 0) for need, size, before in each)]}
    if isinstance(layer.padding, str):
        return about | {"auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]}
    sides = (layer.padding,) * len(kernel) if isinstance(layer.padding, int) else layer.padding
    return about | {"pads": [*sides, *sides]}


def _conv(layer: Any, x: Value, writer: Writer) -> Value:
    about = _window(layer, x, layer.kernel_size, layer.strides)
    more = [writer.weight(name) for name in ("weight", "bias") if writer.has(name)]
    return _turned("Conv", x, writer, *more, **about, dilations=list(layer.dilation), group=layer.groups)


def _pool(kind: str) -> Callable[[Any, Value, Writer], Value]:
    def write(layer: Any, x: Value, writer: Writer) -> Value:
        about = _window(layer, x, layer.pool_size, layer.strides or layer.pool_size)
        return _turned(kind, x, writer, **about)

    return write


def _global_pool(kind: str) -> Callable[[Any, Value, Writer], Value]:
    def write(layer: Any, x: Value, writer: Writer) -> Value:
        axes = writer.graph.constant(list(range(1, x.rank - 1)), "int64")
        return Value(writer.graph.one(kind, x.name, axes, keepdims=0), 2)

    return write


# --- normalisation ------------------------------------------------------------------------------------------


def _batch_norm(layer: Any, x: Value, writer: Writer) -> Value:
    """Two factors a channel, as the running statistics stand."""
    mean, variance = (np.asarray(writer.array(name), np.float64) for name in ("running_mean", "running_var"))
    scale = writer.array("weight") / np.sqrt(variance + layer.epsilon)
    shift = writer.array("bias") - mean * scale
    y = writer.op("Mul", x, writer.graph.constant(scale))
    return writer.op("Add", y, writer.graph.constant(shift))


def _layer_norm(layer: Any, x: Value, writer: Writer) -> Value:
    more = writer.weight("weight"), writer.weight("bias")
    return writer.op("LayerNormalization", x, *more, axis=-1, epsilon=layer.epsilon)


# --- recurrence ---------------------------------------------------------------------------------------------

_OPERATORS = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
_ORDER = {"simple_rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Where ONNX's gates stand among PyTorch's: i o f c of i f g o; z r h of r z n."""


def _recurrent(layer: Any, x: Value, writer: Writer) -> Value:
    return _recurrence(layer, x, writer, ("",))


def _bidirectional(layer: Any, x: Value, writer: Writer) -> Value:
    return _recurrence(layer.layer, x, writer, ("", "_reverse"))


def _recurrence(layer: Any, x: Value, writer: Writer, ways: tuple[str, ...]) -> Value:
    graph, units = writer.graph, layer.units
    if x.vocabulary is not None:
        depth, levels = graph.constant(x.vocabulary, "int64"), graph.constant([0.0, 1.0])
        x = Value(graph.one("OneHot", x.name, depth, levels, axis=-1), x.rank + 1)
    by_time = graph.one("Transpose", x.name, perm=[1, 0, 2])
    weights = [graph.constant(np.stack([_gates(layer.kind, writer, name + way) for way in ways])) for name in
               ("weight_ih_l0", "weight_hh_l0")]  # fmt: skip
    biases = [np.concatenate([_gates(layer.kind, writer, f"bias_{of}_l0{way}") for of in ("ih", "hh")]) for way in ways]
    about: dict[str, Any] = {"hidden_size": units, "direction": "bidirectional" if len(ways) > 1 else "forward"}
    if layer.kind == "gru":
        about["linear_before_reset"] = 1
    outputs = graph.add(
        _OPERATORS[layer.kind], by_time, *weights, graph.constant(np.stack(biases)), outputs=2, **about
    )  # (time, ways, batch, units), (ways, batch, units)
    wide = len(ways) * units
    if layer.output == "last":
        last = graph.one("Transpose", outputs[1], perm=[1, 0, 2])
        return Value(graph.one("Reshape", last, graph.constant([0, wide], "int64")), 2)
    every = graph.one("Transpose", outputs[0], perm=[2, 0, 1, 3])
    return Value(graph.one("Reshape", every, graph.constant([0, 0, wide], "int64")), 3)


def _gates(kind: str, writer: Writer, name: str) -> Array:
    """A weight with its gates in ONNX's order."""
    array = writer.array(name)
    each = np.split(array, len(_ORDER[kind]))
    return np.concatenate([each[at] for at in _ORDER[kind]])


# --- activations --------------------------------------------------------------------------------------------


def _plain(kind: str, **fixed: Any) -> Callable[[Any, Value, Writer], Value]:
    return lambda layer, x, writer: writer.op(kind, x, **fixed)


def _with(kind: str, **fields: str) -> Callable[[Any, Value, Writer], Value]:
    """An operator whose attributes are fields of the layer."""
    return lambda layer, x, writer: writer.op(kind, x, **{name: getattr(layer, own) for name, own in fields.items()})


def _silu(layer: Any, x: Value, writer: Writer) -> Value:
    return writer.op("Mul", writer.op("Sigmoid", x), x.name)


def _swiglu(layer: Any, x: Value, writer: Writer) -> Value:
    """The gate comes first."""
    gate, value = writer.graph.add("Split", x.name, outputs=2, axis=-1, num_outputs=2)
    return writer.op("Mul", _silu(layer, replace(x, name=gate), writer), value)


WORDS: Mapping[str, Callable[[Any, Value, Writer], Value]] = {
    "dense": _dense,
    "embedding": _embedding,
    "flatten": _flatten,
    "reshape": _reshape,
    "dropout": _dropout,
    "residual": _residual,
    **{f"conv{rank}d": _conv for rank in (1, 2, 3)},
    **{f"max_pool{rank}d": _pool("MaxPool") for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": _pool("AveragePool") for rank in (1, 2, 3)},
    "global_max_pool": _global_pool("ReduceMax"),
    "global_average_pool": _global_pool("ReduceMean"),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    **dict.fromkeys(_ORDER, _recurrent),
    "bidirectional": _bidirectional,
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "relu": _plain("Relu"),
    "softplus": _plain("Softplus"),
    "softmax": _plain("Softmax", axis=-1),
    "log_softmax": _plain("LogSoftmax", axis=-1),
    "leaky_relu": _with("LeakyRelu", alpha="slope"),
    "elu": _with("Elu", alpha="alpha"),
    "gelu": _with("Gelu", approximate="approximate"),
    "silu": _silu,
    "swiglu": _swiglu,
}
