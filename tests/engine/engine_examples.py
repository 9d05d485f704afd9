"""What the engine's laws run on: examples of every word. A new word fails the tests until it has a row here."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from service.engine import Layer, LayerSpec, Loss, Optimizer, Schedule, Shape
from service.engine.augmentation import Augmentation
from service.engine.losses import LossSpec
from service.engine.optimizers import OptimizerSpec


@dataclass(frozen=True)
class LayerExample:
    """A layer as JSON, one row's shape, and what is special about it."""

    json: dict[str, Any]
    dims: tuple[int, ...]
    vocabulary: int | None = None
    lengths: tuple[int, ...] | None = None
    smooth: bool = field(default=True)

    @property
    def layer(self) -> LayerSpec:
        return typing.cast(LayerSpec, TypeAdapter(Layer).validate_python(self.json))

    @property
    def shape(self) -> Shape:
        return Shape(self.dims, self.vocabulary, self.lengths is not None)


def _simple(kind: str, **given: Any) -> list[LayerExample]:
    return [LayerExample({"kind": kind, **given}, dims) for dims in ((5,), (3, 4))]


def _recurrent(kind: str) -> list[LayerExample]:
    """A recurrent layer in all its ways of reading: numbers and ids, whole and padded sequences, dropped states."""
    word = {"kind": kind, "units": 3}
    return [
        LayerExample(word, (4, 2)),
        LayerExample(word | {"units": 64}, (3, 2)),  # wide enough for products in columns
        LayerExample(word | {"output": "last"}, (4, 2)),
        LayerExample(word, (4,), vocabulary=5),
        LayerExample(word, (4, 2), lengths=(4, 1, 3, 2)),
        LayerExample(word | {"output": "last"}, (4, 2), lengths=(4, 1, 3, 2)),
        LayerExample(word | {"recurrent_dropout": 0.3}, (4, 2)),
    ]


LAYERS: dict[str, list[LayerExample]] = {
    "dense": [
        LayerExample({"kind": "dense", "units": 4}, (3,)),
        LayerExample({"kind": "dense", "units": 4, "bias": False}, (3,)),
        LayerExample({"kind": "dense", "units": 4, "activation": "tanh"}, (3,)),
        LayerExample({"kind": "dense", "units": 4, "activation": {"kind": "leaky_relu", "slope": 0.2}}, (3,)),
        LayerExample({"kind": "dense", "units": 6, "activation": "swiglu"}, (3,)),
        LayerExample({"kind": "dense", "units": 2, "activation": "relu"}, (5, 3)),
        LayerExample({"kind": "dense", "units": 2, "initial": "orthogonal"}, (9000,)),
    ],
    "conv1d": [
        LayerExample({"kind": "conv1d", "filters": 3, "kernel_size": 3}, (7, 2)),
        LayerExample({"kind": "conv1d", "filters": 4, "kernel_size": 2, "strides": 2, "groups": 2}, (7, 6)),
        LayerExample({"kind": "conv1d", "filters": 2, "kernel_size": 3, "dilation": 2, "activation": "tanh"}, (9, 9)),
        LayerExample(
            {"kind": "conv1d", "filters": 3, "kernel_size": 3, "padding": "same", "activation": "tanh"},
            (5, 2),
            lengths=(5, 2, 3, 1),
        ),
        LayerExample({"kind": "conv1d", "filters": 3, "kernel_size": 5, "padding": 2}, (5, 2), lengths=(5, 2, 3, 1)),
    ],
    "conv2d": [
        LayerExample({"kind": "conv2d", "filters": 3, "kernel_size": 3}, (5, 6, 1)),
        LayerExample({"kind": "conv2d", "filters": 3, "kernel_size": 3, "bias": False}, (5, 6, 2)),
        LayerExample({"kind": "conv2d", "filters": 3, "kernel_size": 3, "padding": "same", "strides": 2}, (5, 6, 2)),
        LayerExample({"kind": "conv2d", "filters": 3, "kernel_size": 3, "padding": 1, "strides": 2}, (6, 8, 2)),
        LayerExample({"kind": "conv2d", "filters": 2, "kernel_size": [2, 5], "padding": [0, 4]}, (5, 3, 9)),
        LayerExample({"kind": "conv2d", "filters": 8, "kernel_size": 3, "padding": 2}, (20, 19, 8)),
        LayerExample({"kind": "conv2d", "filters": 3, "kernel_size": [1, 4], "strides": [2, 1]}, (5, 6, 9)),
        LayerExample({"kind": "conv2d", "filters": 4, "kernel_size": 2, "padding": "same", "dilation": 2}, (5, 4, 9)),
        LayerExample(
            {"kind": "conv2d", "filters": 4, "kernel_size": [3, 2], "padding": "same", "dilation": 2, "strides": 2},
            (6, 7, 2),
        ),
        LayerExample({"kind": "conv2d", "filters": 6, "kernel_size": 3, "groups": 3, "activation": "relu"}, (5, 4, 9)),
        LayerExample({"kind": "conv2d", "filters": 4, "kernel_size": 3, "groups": 4, "padding": "same"}, (5, 6, 4)),
        LayerExample({"kind": "conv2d", "filters": 8, "kernel_size": 3, "groups": 4, "strides": 2}, (7, 6, 4)),
        LayerExample({"kind": "conv2d", "filters": 8, "kernel_size": 3}, (20, 19, 8)),
        LayerExample(
            {"kind": "conv2d", "filters": 9, "kernel_size": 3, "padding": "same", "activation": "relu"}, (17, 16, 8)
        ),
    ],
    "conv3d": [
        LayerExample({"kind": "conv3d", "filters": 2, "kernel_size": 2}, (3, 4, 3, 2)),
        LayerExample({"kind": "conv3d", "filters": 8, "kernel_size": [1, 2, 3], "groups": 8}, (2, 3, 4, 8)),
        LayerExample({"kind": "conv3d", "filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}, (4, 3, 5, 8)),
        LayerExample({"kind": "conv3d", "filters": 2, "kernel_size": 3, "strides": 2, "padding": 1}, (4, 3, 6, 2)),
    ],
    "max_pool1d": [LayerExample({"kind": "max_pool1d", "pool_size": 2}, (7, 3))],
    "max_pool2d": [
        LayerExample({"kind": "max_pool2d", "pool_size": 2}, (5, 6, 3)),
        LayerExample({"kind": "max_pool2d", "pool_size": 3, "strides": 2, "padding": "same"}, (5, 6, 3)),
        LayerExample({"kind": "max_pool2d", "pool_size": 3, "strides": 2, "padding": 1}, (6, 8, 3)),
        LayerExample({"kind": "max_pool2d", "pool_size": [2, 3], "strides": 1}, (5, 6, 3)),
    ],
    "max_pool3d": [LayerExample({"kind": "max_pool3d", "pool_size": [1, 2, 2]}, (3, 5, 4, 2))],
    "average_pool1d": [LayerExample({"kind": "average_pool1d", "pool_size": 2}, (7, 3))],
    "average_pool2d": [
        LayerExample({"kind": "average_pool2d", "pool_size": 2}, (5, 6, 3)),
        LayerExample({"kind": "average_pool2d", "pool_size": 3, "strides": 2, "padding": "same"}, (5, 6, 3)),
        LayerExample({"kind": "average_pool2d", "pool_size": 3, "strides": 2, "padding": 1}, (6, 8, 3)),
    ],
    "average_pool3d": [LayerExample({"kind": "average_pool3d", "pool_size": [1, 2, 2]}, (3, 5, 4, 2))],
    "global_max_pool": [
        LayerExample({"kind": "global_max_pool"}, (4, 3, 2)),
        LayerExample({"kind": "global_max_pool"}, (5, 3), lengths=(5, 2, 3, 1)),
    ],
    "global_average_pool": [
        LayerExample({"kind": "global_average_pool"}, (4, 3, 2)),
        LayerExample({"kind": "global_average_pool"}, (5, 3), lengths=(5, 2, 3, 1)),
    ],
    "batch_norm": [
        LayerExample({"kind": "batch_norm"}, (5,)),
        LayerExample({"kind": "batch_norm", "momentum": 0.3, "epsilon": 0.01}, (3, 4, 2)),
        LayerExample({"kind": "batch_norm"}, (5, 3), lengths=(5, 2, 3, 1)),
    ],
    "embedding": [
        LayerExample({"kind": "embedding", "units": 3}, (4,), vocabulary=5),
        LayerExample({"kind": "embedding", "units": 2}, (4,), vocabulary=300),
    ],
    "simple_rnn": _recurrent("simple_rnn"),
    "lstm": _recurrent("lstm"),
    "gru": _recurrent("gru"),
    "bidirectional": [
        LayerExample({"kind": "bidirectional", "layer": {"kind": "gru", "units": 3}}, (4, 2)),
        LayerExample({"kind": "bidirectional", "layer": {"kind": "lstm", "units": 3, "output": "last"}}, (4, 2)),
        LayerExample({"kind": "bidirectional", "layer": {"kind": "lstm", "units": 2}}, (4, 2), lengths=(4, 1, 3, 2)),
        LayerExample({"kind": "bidirectional", "layer": {"kind": "simple_rnn", "units": 2}}, (4,), vocabulary=5),
    ],
    "layer_norm": [*_simple("layer_norm"), *_simple("layer_norm", epsilon=0.1)],
    "dropout": [*_simple("dropout", rate=0.5), *_simple("dropout", rate=0.1), *_simple("dropout", rate=0.0)],
    "flatten": [LayerExample({"kind": "flatten"}, (3, 4, 2)), LayerExample({"kind": "flatten"}, (5,))],
    "reshape": [LayerExample({"kind": "reshape", "shape": [2, -1]}, (3, 4))],
    "residual": [
        LayerExample({"kind": "residual", "layers": [{"kind": "dense", "units": 3, "activation": "tanh"}]}, (3,)),
        LayerExample(
            {
                "kind": "residual",
                "layers": [
                    {"kind": "dense", "units": 5, "activation": "gelu"},
                    {"kind": "residual", "layers": [{"kind": "dense", "units": 5, "activation": "silu"}]},
                    {"kind": "dense", "units": 3},
                ],
            },
            (2, 3),
        ),
    ],
    "sigmoid": _simple("sigmoid"),
    "tanh": _simple("tanh"),
    "relu": _simple("relu"),
    "leaky_relu": [*_simple("leaky_relu"), *_simple("leaky_relu", slope=0.3)],
    "gelu": [*_simple("gelu"), *_simple("gelu", approximate="tanh")],
    "silu": _simple("silu"),
    "elu": [*_simple("elu"), *_simple("elu", alpha=0.5)],
    "softplus": _simple("softplus"),
    "softmax": _simple("softmax"),
    "log_softmax": _simple("log_softmax"),
    "swiglu": [LayerExample({"kind": "swiglu"}, (6,)), LayerExample({"kind": "swiglu"}, (3, 4))],
}

LOSSES: dict[str, list[dict[str, Any]]] = {
    "squared_error": [{}],
    "absolute_error": [{}],
    "huber": [{}, {"delta": 0.3}],
    "binary_cross_entropy": [{}],
    "hinge": [{}],
    "cross_entropy": [
        {},
        {"label_smoothing": 0.1},
        {"class_weights": [1.0, 2.0, 0.5, 1.5]},
        {"label_smoothing": 0.2, "class_weights": [1.0, 2.0, 0.5, 1.5]},
    ],
    "kl_divergence": [{}],
}

OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "gradient_descent": [{"learning_rate": 0.1}],
    "sgd": [
        {"learning_rate": 0.1},
        {"learning_rate": 0.05, "momentum": 0.9},
        {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
    ],
    "adagrad": [{"learning_rate": 0.5}],
    "rmsprop": [
        {"learning_rate": 0.01},
        {"learning_rate": 0.002, "momentum": 0.9},
        {"learning_rate": 0.002, "centered": True},
    ],
    "adam": [{"learning_rate": 0.05}],
    "adamw": [{"learning_rate": 0.05, "weight_decay": 0.0001}],
}

SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "constant": [{}, {"warmup_steps": 4}],
    "step": [{"every_epochs": 2, "gamma": 0.5}],
    "exponential": [{"gamma": 0.9}],
    "cosine": [{}, {"warmup_steps": 5, "minimum": 0.1}],
    "reduce_on_plateau": [{"patience": 0}],
}

AUGMENTATIONS: dict[str, list[tuple[dict[str, Any], tuple[int, ...]]]] = {
    "flip": [({}, (6, 5, 3)), ({"direction": "vertical"}, (5, 6, 1))],
    "shift": [({"pixels": 2}, (6, 5, 3)), ({"pixels": 3, "fill": "edge"}, (5, 6, 1))],
    "rotate": [({"degrees": 30.0}, (6, 5, 3)), ({"degrees": 15.0, "fill": "edge"}, (5, 6, 1))],
    "zoom": [({"amount": 0.3}, (6, 5, 3)), ({"amount": 0.2, "fill": "edge"}, (5, 6, 1))],
    "noise": [({"deviation": 0.1}, (4,)), ({}, (8, 8, 3))],
    "cutout": [({"pixels": 3}, (6, 5, 3)), ({"pixels": 4}, (5, 6, 1))],
    "mixup": [({}, (4,)), ({"alpha": 1.0}, (6, 5, 3)), ({"alpha": 0.4}, (7, 2))],
    "jitter": [({}, (7, 2)), ({"deviation": 0.5}, (4, 1))],
    "scaling": [({}, (7, 2)), ({"deviation": 0.5}, (4, 1))],
    "time_mask": [({"steps": 4}, (7, 2)), ({"steps": 4}, (4, 1))],
}


def kinds(union: Any) -> list[str]:
    """The kinds of a discriminated union."""
    inner = typing.get_args(union)[0]
    members = typing.get_args(inner) if isinstance(inner, types.UnionType) else (inner,)
    return [member.model_fields["kind"].default for member in members]


def loss_of(kind: str, given: dict[str, Any]) -> LossSpec:
    return typing.cast(LossSpec, TypeAdapter(Loss).validate_python({"kind": kind, **given}))


def optimizer_of(kind: str, given: dict[str, Any]) -> OptimizerSpec:
    return typing.cast(OptimizerSpec, TypeAdapter(Optimizer).validate_python({"kind": kind, **given}))


UNIONS: dict[str, tuple[Any, Any]] = {
    "layers": (Layer, LAYERS),
    "losses": (Loss, LOSSES),
    "optimizers": (Optimizer, OPTIMIZERS),
    "schedules": (Schedule, SCHEDULES),
    "augmentations": (Augmentation, AUGMENTATIONS),
}
EVERY_LAYER = [(f"{kind}-{i}", example) for kind, rows in LAYERS.items() for i, example in enumerate(rows)]
EVERY_LOSS = [(f"{kind}-{i}", loss_of(kind, given)) for kind, rows in LOSSES.items() for i, given in enumerate(rows)]
EVERY_OPTIMIZER = [
    (f"{kind}-{i}", optimizer_of(kind, given)) for kind, rows in OPTIMIZERS.items() for i, given in enumerate(rows)
]
