"""Keras' arrays under PyTorch's names: what a person does who carries a model over by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from service.tensors import Array

Json = dict[str, Any]
GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple_rnn": (0,)}
"""Where PyTorch's gates stand among Keras': i f g o as i f c o; r z n of z r h."""


def _turned(kind: str, array: Array) -> Array:
    """(..., gates * units) as (gates * units, ...), the gates in PyTorch's order."""
    parts = np.split(array, len(GATES[kind]), axis=-1)
    return np.ascontiguousarray(np.concatenate([parts[at] for at in GATES[kind]], axis=-1).T)


def _recurrent(layer: Json, arrays: Sequence[Array], end: str = "") -> dict[str, Array]:
    kernel, recurrent, bias = arrays
    of_input, of_state = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    named = {"weight_ih": kernel, "weight_hh": recurrent, "bias_ih": of_input, "bias_hh": of_state}
    return {f"{name}_l0{end}": _turned(layer["kind"], array) for name, array in named.items()}


def _both(layer: Json, arrays: Sequence[Array]) -> dict[str, Array]:
    return _recurrent(layer["layer"], arrays[:3]) | _recurrent(layer["layer"], arrays[3:], "_reverse")


def _kernel(layer: Json, arrays: Sequence[Array]) -> dict[str, Array]:
    weight = arrays[0]
    if weight.shape[-1] != layer.get("filters", weight.shape[-1]):  # depthwise: (..., channels, times)
        weight = weight.reshape(*weight.shape[:-2], 1, -1)
    found = {"weight": np.ascontiguousarray(weight.transpose(-1, -2, *range(weight.ndim - 2)))}
    return found | ({"bias": arrays[1]} if layer["bias"] else {})


def _batch_norm(layer: Json, arrays: Sequence[Array]) -> dict[str, Array]:
    names = ("weight", "bias", "running_mean", "running_var")
    return dict(zip(names, arrays, strict=True)) | {"num_batches_tracked": np.zeros((), np.int64)}


_WORDS: dict[str, Callable[[Json, Sequence[Array]], dict[str, Array]]] = {
    **dict.fromkeys(("dense", "conv1d", "conv2d", "conv3d"), _kernel),
    **dict.fromkeys(GATES, _recurrent),
    "bidirectional": _both,
    "batch_norm": _batch_norm,
    "layer_norm": lambda _, arrays: dict(zip(("weight", "bias"), arrays, strict=True)),
    "embedding": lambda _, arrays: {"weight": arrays[0]},
}


def carried(layers: Sequence[Json], weights: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """`weights`: `get_weights()` of every layer that has some, in their order."""
    learning = [at for at, layer in enumerate(layers) if layer["kind"] in _WORDS]
    found = {}
    for at, arrays in zip(learning, weights, strict=True):
        for name, array in _WORDS[layers[at]["kind"]](layers[at], arrays).items():
            found[f"{at}.{name}"] = array
    return found
