"""Hints for what people write who know other libraries, or who put a word in another place than ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from service.errors import did_you_mean

Models = Sequence[type[BaseModel]]
_DEEP, _PLACES = 4, 2
_ELSEWHERE = {
    "linear": "dense", "fc": "dense", "fully_connected": "dense", "rnn": "simple_rnn", "conv": "conv2d",
    "maxpool2d": "max_pool2d", "avg_pool2d": "average_pool2d",
    "mse": "squared_error", "l2": "squared_error", "mean_squared_error": "squared_error",
    "mae": "absolute_error", "l1": "absolute_error", "l1_loss": "absolute_error", "smooth_l1": "huber",
    "nll": "cross_entropy", "categorical_crossentropy": "cross_entropy", "softmax_cross_entropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy", "bce": "binary_cross_entropy", "kl": "kl_divergence",
    "swish": "silu", "acc": "accuracy",
    "lr": "learning_rate", "p": "rate", "dropout_rate": "rate", "hidden_size": "units", "out_features": "units",
    "neurons": "units", "nodes": "units", "hidden_units": "units", "output_dim": "units", "dim": "units",
    "negative_slope": "slope", "beta": "delta",
    "out_channels": "filters", "channels": "filters", "kernel": "kernel_size", "stride": "strides",
    "return_sequences": "output", "return_last": "output", "min": "low", "max": "high", "log": "scale",
    "batch": "batch_size", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_epochs": "epochs", "iterations": "max_steps", "betas": "beta1", "eps": "epsilon",
    "instances": "rows", "inputs": "rows", "data": "rows", "y": "target", "label": "target", "labels": "target",
    "kn": "kneser_ney", "interpolated_kneser_ney": "kneser_ney", "mkn": "modified_kneser_ney", "wb": "witten_bell",
    "laplace": "add_k", "lidstone": "add_k", "add_one": "add_k", "additive": "add_k", "alpha": "k", "gamma": "k",
    "whitespace": "word", "cutoff": "prune", "cutoffs": "prune", "min_count": "prune",
    "n": "order", "run_id": "run", "patch": "spec",
    "max_length": "max_tokens", "prompt": "text", "dataset_id": "id", "model_id": "model",
}  # fmt: skip
"""What Keras, PyTorch, scikit-learn and others call it."""
_FOUND = ("input_shape", "input_dim", "input_size", "in_features", "in_channels", "n_inputs")
_NOTHING = ("linear", "identity", "none")


def meant(word: str, words: Sequence[str]) -> str | None:
    """The word of ours that is meant: what others call so, or one that is spelled alike."""
    named = _ELSEWHERE.get(word.lower())
    if named in words:
        return f"Did you mean {named!r}?"
    if word.lower() in _FOUND:
        return "leave it out: it follows from what comes in"
    if word.lower() in _NOTHING and "relu" in words:
        return "leave it out: without one a layer is linear"
    return did_you_mean(word, words)


def as_object(word: str, kinds: Sequence[str], fields: Sequence[str]) -> str | None:
    """How to write as an object what was sent as a word."""
    if kinds:
        named = meant(word, kinds)
        kind = named.split("'")[1] if named and "'" in named else kinds[0]
        return f'write {{"kind": "{word if word in kinds else kind}"}}'
    if {"id", "sample"} <= set(fields):
        return 'write {"id": "ds_..."}, or {"sample": "iris"} of a sample'
    return None


def home(
    name: str, models: Models, document: object, inner: Callable[[type[BaseModel], str, object], Models]
) -> str | None:
    """Where a field of this name stands, nearest to the top. `inner`: the models of a field's value."""
    found = sorted(set(_homes(name, models, document, inner, "")), key=lambda place: (_depth(place), place))
    nearest = [place for place in found if _depth(place) == _depth(found[0])]
    return f"it stands at {' or '.join(nearest)}" if 0 < len(nearest) <= _PLACES else None


def _depth(place: str) -> int:
    return place.count("/")


def _homes(
    name: str, models: Models, document: object, inner: Callable[[type[BaseModel], str, object], Models], place: str
) -> Iterator[str]:
    given: Mapping[Any, Any] = document if isinstance(document, Mapping) else {}
    for model in models:
        for field in model.model_fields:
            here = f"{place}/{field}"
            if field == name:
                yield here
            elif _depth(here) < _DEEP:
                yield from _homes(name, inner(model, field, given.get(field)), given.get(field), inner, here)
