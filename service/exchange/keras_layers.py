"""Keras' layers as layers of ours, with Keras' own defaults where a setting is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.errors import did_you_mean
from service.exchange.keras_config import (
    Config,
    Report,
    begins,
    class_of,
    each_axis,
    settings_of,
    shortest,
    shown,
    start,
)

Json = dict[str, Any]

# --- activations -------------------------------------------------------------------------------

_PLAIN = ("relu", "sigmoid", "tanh", "softplus", "softmax", "log_softmax", "gelu", "silu", "elu")
ACTIVATIONS: Mapping[str, Any] = {
    **{name: name for name in _PLAIN},
    "swish": "silu",
    "leaky_relu": {"kind": "leaky_relu", "slope": 0.2},  # the function's slope; the layer's is 0.3
    "linear": None,
}


def _activation(config: Config, name: str = "activation") -> Any:
    """Ours: a word, an object, or None for none. Keras gives a word, or a layer as an object."""
    value = config.take(name)
    if class_of(value) == "function" and isinstance(value, Mapping):
        value = value.get("config")
    if isinstance(value, Mapping) and class_of(value) in _BY_CLASS:
        return layer(value, f"{config.pointer}/{name}", config.report)
    if value is None or (isinstance(value, str) and value in ACTIVATIONS):
        return None if value is None else ACTIVATIONS[value]
    hint = did_you_mean(value, list(ACTIVATIONS)) if isinstance(value, str) else None
    message = f"no activation here is Keras' {shown(value)!r}"
    config.report.fault(f"{config.pointer}/{name}", "unknown_word", message, hint, tuple(ACTIVATIONS))
    return None


# --- layers -----------------------------------------------------------------------------------------------------


def _dense(config: Config) -> Json:
    begins(config, bias_initializer="zeros")
    return {"kind": "dense", "units": config.take("units"), "bias": config.take("use_bias", True),
            "initial": start(config), "activation": _activation(config)}  # fmt: skip


def _conv(rank: int) -> Callable[[Config], Json]:
    def read(config: Config) -> Json:
        config.only(("channels_last", None), data_format=None)
        config.only(("valid", "same"), padding="valid")
        begins(config, bias_initializer="zeros")
        return {
            "kind": f"conv{rank}d", "filters": config.take("filters"),
            "kernel_size": each_axis(config.take("kernel_size")),
            "strides": each_axis(config.take("strides", 1)), "dilation": each_axis(config.take("dilation_rate", 1)),
            "padding": config.take("padding", "valid"), "groups": config.take("groups", 1),
            "bias": config.take("use_bias", True), "initial": start(config), "activation": _activation(config),
        }  # fmt: skip

    return read


def _depthwise(config: Config) -> Json | None:
    """Every channel by itself: as many groups as channels come in."""
    config.only(("channels_last", None), data_format=None)
    config.only(("valid", "same"), padding="valid")
    begins(config, bias_initializer="zeros")
    channels, times = config.report.channels, config.take("depth_multiplier", 1)
    made = {
        "kind": "conv2d", "kernel_size": each_axis(config.take("kernel_size")),
        "strides": each_axis(config.take("strides", 1)), "dilation": each_axis(config.take("dilation_rate", 1)),
        "padding": config.take("padding", "valid"), "bias": config.take("use_bias", True),
        "initial": start(config, "depthwise_initializer"), "activation": _activation(config),
    }  # fmt: skip
    if channels is None or type(times) is not int:
        where = config.pointer.removesuffix("/config")
        config.report.fault(where, "untranslatable", "nothing says how many channels come in", "Begin with an Input.")
        return None
    config.report.note(f"{config.pointer}/depthwise_initializer: the spread of the start is that of a single channel")
    return made | {"filters": channels * times, "groups": channels}


def _pool(kind: str, rank: int) -> Callable[[Config], Json]:
    def read(config: Config) -> Json:
        config.only(("channels_last", None), data_format=None)
        config.only(("valid", "same"), padding="valid")
        return {"kind": f"{kind}_pool{rank}d", "pool_size": each_axis(config.take("pool_size", 2)),
                "strides": each_axis(config.take("strides")), "padding": config.take("padding", "valid")}  # fmt: skip

    return read


def _global_pool(kind: str) -> Callable[[Config], Json]:
    def read(config: Config) -> Json:
        config.only(("channels_last", None), data_format=None)
        return {"kind": f"global_{kind}_pool"}

    return read


def _embedding(config: Config) -> Json:
    return {"kind": "embedding", "units": config.take("output_dim"),
            "initial": start(config, "embeddings_initializer", "uniform")}  # fmt: skip


def _recurrent(kind: str) -> Callable[[Config], Json]:
    def read(config: Config) -> Json:
        config.only(("tanh",), activation="tanh")
        config.only((True,), use_bias=True)
        if kind != "simple_rnn":
            config.only(("sigmoid",), recurrent_activation="sigmoid")
        if kind == "gru":
            config.only((True,), reset_after=True)
        begins(
            config, kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros"
        )
        every = config.take("return_sequences", False)
        made = {"kind": kind, "units": config.take("units"), "output": "sequence" if every else "last",
                "recurrent_dropout": config.take("recurrent_dropout", 0.0)}  # fmt: skip
        if kind == "lstm":
            made["forget_bias"] = 1.0 if config.take("unit_forget_bias", True) else 0.0
        return made

    return read


def _bidirectional(config: Config) -> Json:
    """The layer that reads backwards must be the other one's twin."""
    config.only(("concat",), merge_mode="concat")
    ahead, back = config.take("layer"), config.take("backward_layer")
    inner = layer(ahead, f"{config.pointer}/layer", config.report)
    if isinstance(back, Mapping):
        config.only((True,), go_backwards=True)
        turned = {**settings_of(back), "go_backwards": False}
        other = layer({**back, "config": turned}, f"{config.pointer}/backward_layer", config.report)
        if other != inner:
            config.refuse("backward_layer", back)
    return {"kind": "bidirectional", "layer": inner}


def _time_distributed(config: Config) -> Json | None:
    """A dense layer works on the last axis anyway."""
    inner = config.take("layer")
    if class_of(inner) != "dense":
        config.refuse("layer", inner)
    return layer(inner, f"{config.pointer}/layer", config.report)


def _last_axis(config: Config) -> None:
    """-1, or the number of the last axis; Keras 2 puts it in a list."""
    value = config.take("axis", -1)
    axis = value[0] if isinstance(value, list) and len(value) == 1 else value
    if axis != -1 and axis != (config.report.rank or 0) - 1:
        config.refuse("axis", value)


def _batch_norm(config: Config) -> Json:
    _last_axis(config)
    config.only((True,), center=True, scale=True)
    begins(config, gamma_initializer="ones", beta_initializer="zeros", moving_mean_initializer="zeros",
            moving_variance_initializer="ones")  # fmt: skip
    kept = config.take("momentum", 0.99)
    newest = round(1 - kept, 12) if isinstance(kept, float) else kept
    return {"kind": "batch_norm", "momentum": newest, "epsilon": config.take("epsilon", 1e-3)}


def _layer_norm(config: Config) -> Json:
    _last_axis(config)
    config.only((True,), center=True, scale=True)
    begins(config, gamma_initializer="ones", beta_initializer="zeros")
    return {"kind": "layer_norm", "epsilon": config.take("epsilon", 1e-3)}


def _dropout(config: Config) -> Json:
    return {"kind": "dropout", "rate": config.take("rate")}


def _flatten(config: Config) -> Json:
    config.only(("channels_last", None), data_format=None)
    return {"kind": "flatten"}


def _reshape(config: Config) -> Json:
    return {"kind": "reshape", "shape": each_axis(config.take("target_shape"))}


def _alone(config: Config) -> Json | None:
    """An activation that is a layer."""
    made = _activation(config)
    return {"kind": made} if isinstance(made, str) else made


def _relu(config: Config) -> Json:
    slope = config.take("negative_slope", 0.0)
    return {"kind": "leaky_relu", "slope": slope} if slope else {"kind": "relu"}


def _leaky_relu(config: Config) -> Json:
    slope = config.take("negative_slope", config.take("alpha", 0.3))
    return {"kind": "leaky_relu", "slope": shortest(slope) if isinstance(slope, float) else slope}


def _elu(config: Config) -> Json:
    return {"kind": "elu", "alpha": config.take("alpha", 1.0)}


def _softmax(config: Config) -> Json:
    _last_axis(config)
    return {"kind": "softmax"}


def _zeros(rank: int) -> Callable[[Config], Json]:
    """Zeros around, for the convolution behind them to take: as much behind as before."""

    def read(config: Config) -> Json:
        config.only(("channels_last", None), data_format=None)
        given = config.take("padding", 1)
        sides = [given] if rank == 1 and isinstance(given, list) else given
        pairs = (
            [each if isinstance(each, list) else [each] for each in sides]
            if isinstance(sides, list)
            else [[sides]] * rank
        )
        if len(pairs) != rank or any(len(set(map(str, each))) != 1 for each in pairs):
            config.refuse("padding", given)
        return {"kind": ZEROS, "padding": [each[0] if each else 0 for each in pairs]}

    return read


ZEROS = "zeros"  # no layer of ours: it goes into the convolution behind it
WORDS: Mapping[str, Callable[[Config], Json | None]] = {
    "Dense": _dense,
    **{f"Conv{rank}D": _conv(rank) for rank in (1, 2, 3)},
    "DepthwiseConv2D": _depthwise,
    **{f"MaxPooling{rank}D": _pool("max", rank) for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": _pool("average", rank) for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": _global_pool("max") for rank in (1, 2, 3)},
    **{f"GlobalAveragePooling{rank}D": _global_pool("average") for rank in (1, 2, 3)},
    "Embedding": _embedding,
    "SimpleRNN": _recurrent("simple_rnn"),
    "LSTM": _recurrent("lstm"),
    "GRU": _recurrent("gru"),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Dropout": _dropout,
    "Flatten": _flatten,
    **{f"ZeroPadding{rank}D": _zeros(rank) for rank in (1, 2, 3)},
    "Reshape": _reshape,
    "Activation": _alone,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
}
_BY_CLASS = {class_of(name): name for name in WORDS}
_SCALED = "Leave it out: a data set's columns and pictures are scaled here, and a model keeps how."
_AUGMENTED = "Leave it out, and set training.augmentation here."
_HINTS = {
    "Rescaling": _SCALED, "Normalization": _SCALED, "RandomFlip": _AUGMENTED, "RandomRotation": _AUGMENTED,
    "RandomZoom": _AUGMENTED, "RandomTranslation": _AUGMENTED, "RandomCrop": _AUGMENTED,
    "Masking": "Rows of different lengths are told by the data set here.",
    "SeparableConv2D": "Write it as a DepthwiseConv2D without bias, and a Conv2D of kernel_size 1.",
    "SpatialDropout1D": "Use Dropout.", "SpatialDropout2D": "Use Dropout.", "GaussianNoise": _AUGMENTED,
}  # fmt: skip


_OTHERWISE = "Build it of Dense, convolutions, pools, recurrent and normalisation layers and activations."


def layer(given: Any, pointer: str, report: Report) -> Json | None:
    """One layer as ours says it; None when it was refused, or is nothing."""
    if not isinstance(given, Mapping) or not isinstance(given.get("config"), Mapping):
        report.fault(pointer, "wrong_type", "a layer is an object with class_name and config")
        return None
    name = str(given.get("class_name"))
    if name not in WORDS:
        hint = _HINTS.get(name) or did_you_mean(name, list(WORDS)) or _OTHERWISE
        message = f"no layer here is Keras' {name[:60]!r}"
        report.fault(f"{pointer}/class_name", "unknown_kind", message, hint)
        return None
    config = Config(given["config"], f"{pointer}/config", report)
    made = WORDS[name](config)
    config.rest()
    return made
