"""The jobs of the drill: a moment's work each, together everything that a resume could get wrong."""

from __future__ import annotations

from typing import Any

_DIGITS = {"sample": "digits", "validation": 0.1}
_REFERENCE = {"sample": "python_reference", "validation": 0.1}
_CHARACTERS = 104  # of the reference


def _train(dataset: dict[str, Any], layers: list[dict[str, Any]], training: dict[str, Any], **more: Any) -> Any:
    training = {"batch_size": 16, "seed": 5} | training
    return {"type": "train", "spec": {"dataset": dataset, "network": {"layers": layers}, "training": training} | more}


_ANSWER = {"kind": "dense", "units": 10, "activation": "softmax"}
DENSE = _train(
    _DIGITS,
    [
        {"kind": "flatten"}, {"kind": "dense", "units": 32, "activation": "relu"}, {"kind": "batch_norm"},
        {"kind": "dropout", "rate": 0.2}, _ANSWER,
    ],
    {"epochs": 40, "early_stopping": {"monitor": "val_loss", "patience": 25}},
    optimizer={"kind": "adam", "schedule": {"kind": "cosine", "warmup_steps": 50}},
)  # fmt: skip
IMAGES = _train(
    _DIGITS,
    [
        {"kind": "conv2d", "filters": 4, "kernel_size": 3}, {"kind": "batch_norm"}, {"kind": "relu"},
        {"kind": "max_pool2d", "pool_size": 2}, {"kind": "flatten"}, _ANSWER,
    ],
    {"epochs": 6, "augmentation": [{"kind": "shift", "pixels": 1}], "shards": 2},
    optimizer={
        "kind": "sgd", "learning_rate": 0.05, "momentum": 0.9, "schedule": {"kind": "reduce_on_plateau", "patience": 1}
    },
)  # fmt: skip
LETTERS = _train(
    _REFERENCE | {"window": 20},
    [{"kind": "lstm", "units": 16}, {"kind": "dropout", "rate": 0.2}, {"kind": "dense", "units": _CHARACTERS}],
    {"epochs": 2, "max_steps": 150, "stateful": True},
)
WORDS = {"type": "ngram", "spec": {"dataset": _REFERENCE, "order": 3}}
SEARCH = {
    "type": "search",
    "spec": {
        "folds": 3,
        "train": _train({"sample": "iris"}, [{"kind": "dense", "activation": "softmax"}], {"epochs": 60})["spec"],
    },
}
JOBS = (DENSE, IMAGES, LETTERS, WORDS, SEARCH)
