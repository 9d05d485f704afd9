"""ONNX's operators as layers of ours: each takes the row so far and the tensor that flows, and gives what flows on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from service.exchange.onnx_flow import UNROLLED, Call, Row
from service.exchange.onnx_sequence import embedding
from service.exchange.onnx_windows import conv, global_pool, order, pool, second
from service.tensors import Array

# --- dense ------------------------------------------------------------------------------------------------------


def gemm(row: Row, call: Call) -> Array:
    about = call.about
    if about.get("transA") or call.at != 0:
        raise call.no("the rows must be its first matrix, as they are")
    weight = call.needed(1) if about.get("transB") else call.needed(1).T  # (out, in)
    bias = call.constant(2)
    shift = None if bias is None else about.get("beta", 1.0) * np.broadcast_to(bias, (1, len(weight)))[0]
    return _dense(row, call, about.get("alpha", 1.0) * weight, shift)


def matmul(row: Row, call: Call) -> Array:
    if call.at != 0 or call.needed(1).ndim != 2:
        raise call.no("only rows times one constant matrix is a layer")
    return _dense(row, call, call.needed(1).T, None)


def _dense(row: Row, call: Call, weight: Array, bias: Array | None) -> Array:
    ids = call.flow.ids
    places = row.flat(ids) if ids.ndim == 2 else None
    if places is not None:
        turned = np.empty_like(weight)
        turned[:, places] = weight
        weight = turned
    elif not row.shaped(ids):
        raise call.no("its input is only part of what the last layer gives, or in another order", UNROLLED)
    if weight.shape[1] != row.dims[-1]:
        raise call.no("its matrix does not fit its input")
    more = {} if bias is None else {"bias": bias}
    layer = {"kind": "dense", "units": len(weight), "bias": bias is not None}
    row.add(layer, (*row.dims[:-1], len(weight)), weight=weight, **more)
    return row.fresh()


def affine(row: Row, call: Call) -> Array:
    """Plus, minus, times, by a constant a channel: into the layer before it, or as a normalisation that is learned."""
    kind, ids, c = call.node.op_type, call.flow.ids, row.dims[-1]
    if kind in ("Sub", "Div") and call.at != 0:
        raise call.no("only a constant taken from what flows is a layer")
    given = call.needed(1 - call.at)
    if np.broadcast_shapes(given.shape, ids.shape) != ids.shape:
        raise call.no("its constant is larger than what flows")
    spread, place, values = np.broadcast_to(given, ids.shape), ids % c, np.zeros(c)
    values[place.reshape(-1)] = spread.reshape(-1)
    if not np.array_equal(values[place], spread):
        raise call.no("its constant is not one number a channel")
    scale = {"Mul": values, "Div": 1 / values}.get(kind, np.ones(c)) if kind in ("Mul", "Div") else np.ones(c)
    shift = {"Add": values, "Sub": -values}.get(kind, np.zeros(c))
    _scaled(row, scale, shift)
    return ids


def _scaled(row: Row, scale: Array, shift: Array) -> None:
    prefix = f"{len(row.layers) - 1}."
    layer = row.layers[-1] if row.layers else {}
    if layer.get("kind") == "batch_norm":
        row.weights[prefix + "weight"] = np.asarray(row.weights[prefix + "weight"] * scale, np.float32)
        row.weights[prefix + "bias"] = np.asarray(row.weights[prefix + "bias"] * scale + shift, np.float32)
        return
    if layer.get("kind") == "dense" or layer.get("kind", "").startswith("conv"):
        weight = row.weights[prefix + "weight"]
        bias = row.weights.get(prefix + "bias", np.zeros(len(weight), np.float32))
        by_row = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        row.weights[prefix + "weight"] = np.ascontiguousarray(weight * by_row, np.float32)
        row.weights[prefix + "bias"] = np.ascontiguousarray(bias * scale + shift, np.float32)
        layer["bias"] = True
        return
    _norm(row, scale, shift, np.zeros(len(scale)), np.ones(len(scale)) - 1e-5, 1e-5)


# --- normalisation ----------------------------------------------------------------------------------------------


def batch_norm(row: Row, call: Call) -> Array:
    if call.about.get("training_mode"):
        raise call.no("it is in training mode")
    ids = call.flow.ids
    if ids.ndim == 2:
        row.flat(ids)
    elif not row.layers:
        row.turned(ids, order(ids.ndim))
        ids = second(row.fresh())
    places = row.channels(ids, 1)
    if places is None:
        raise call.no("its channels are not our last axis")
    arrays = [np.empty(len(places)) for _ in range(4)]
    for at, array in enumerate(arrays):
        array[places] = call.needed(1 + at)
    scale, shift, mean, variance = arrays
    _norm(row, scale, shift, mean, variance, call.about.get("epsilon", 1e-5))
    return ids


def _norm(row: Row, scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float) -> None:
    row.add({"kind": "batch_norm", "epsilon": epsilon}, row.dims, weight=scale, bias=shift, running_mean=mean,
            running_var=variance)  # fmt: skip
    row.weights[f"{len(row.layers) - 1}.num_batches_tracked"] = np.zeros((), np.int64)


def layer_norm(row: Row, call: Call) -> Array:
    ids = call.flow.ids
    if ids.ndim == 2:
        row.flat(ids)
    places = row.channels(ids, -1)
    if call.about.get("axis", -1) not in (-1, ids.ndim - 1) or places is None:
        raise call.no("only the last axis is normalised by a layer")
    scale, shift = np.ones(len(places)), np.zeros(len(places))
    scale[places] = call.needed(1)
    shift[places] = 0.0 if call.constant(2) is None else call.needed(2)
    row.add({"kind": "layer_norm", "epsilon": call.about.get("epsilon", 1e-5)}, row.dims, weight=scale, bias=shift)
    return ids


# --- activations ------------------------------------------------------------------------------------------------


def plain(kind: str, **fields: tuple[str, float]) -> Callable[[Row, Call], Array]:
    """An activation whose fields are attributes with defaults."""

    def read(row: Row, call: Call) -> Array:
        row.add({"kind": kind, **{own: call.about.get(name, usual) for own, (name, usual) in fields.items()}}, row.dims)
        return call.flow.ids

    return read


def gelu(row: Row, call: Call) -> Array:
    row.add({"kind": "gelu", "approximate": call.about.get("approximate", b"none").decode()}, row.dims)
    return call.flow.ids


def softmax(kind: str) -> Callable[[Row, Call], Array]:
    def read(row: Row, call: Call) -> Array:
        ids = call.flow.ids
        if ids.ndim == 2:
            row.flat(ids)
        if row.channels(ids, call.about.get("axis", -1)) is None:
            raise call.no("it is not over the last axis")
        row.add({"kind": kind}, row.dims)
        return ids

    return read


WORDS: Mapping[str, Callable[[Row, Call], Array]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), affine),
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "Conv": conv,
    "MaxPool": pool("max"),
    "AveragePool": pool("average"),
    **dict.fromkeys(("GlobalMaxPool", "ReduceMax"), global_pool("max")),
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), global_pool("average")),
    "Gather": embedding,
    "Sigmoid": plain("sigmoid"),
    "Tanh": plain("tanh"),
    "Relu": plain("relu"),
    "Softplus": plain("softplus"),
    "LeakyRelu": plain("leaky_relu", slope=("alpha", 0.01)),
    "Elu": plain("elu", alpha=("alpha", 1.0)),
    "Gelu": gelu,
    "Softmax": softmax("softmax"),
    "LogSoftmax": softmax("log_softmax"),
}
