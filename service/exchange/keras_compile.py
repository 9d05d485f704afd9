"""What `compile` told a Keras model: its loss and its optimizer as ours, where they are the same formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.exchange.keras_config import Config, Report, class_of, settings_of, shortest, shown

Json = dict[str, Any]
_WITHOUT = "Send the model as it is before compile(), and choose it here."
_LOSSES = {
    **dict.fromkeys(("meansquarederror", "mse"), "squared_error"),
    **dict.fromkeys(("meanabsoluteerror", "mae"), "absolute_error"),
    "huber": "huber",
    "binarycrossentropy": "binary_cross_entropy",
    **dict.fromkeys(("categoricalcrossentropy", "sparsecategoricalcrossentropy"), "cross_entropy"),
    **dict.fromkeys(("kldivergence", "kld", "kullbackleiblerdivergence"), "kl_divergence"),
    "hinge": "hinge",
}
_FINISHES = {"binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}


def loss_of(given: Any, pointer: str, last: str | None, report: Report) -> Json | None:
    """`last`: the kind of activation that the network ends with."""
    config = Config(settings_of(given), f"{pointer}/config", report)
    kind = _LOSSES.get(class_of(given))
    if kind is None:
        report.fault(pointer, "untranslatable", f"no loss here is Keras' {shown(given)!r}", _WITHOUT)
        return None
    config.only(("sum_over_batch_size", "auto"), reduction="sum_over_batch_size")
    config.only((-1, None), axis=-1, ignore_class=None)
    made: Json = {"kind": kind}
    if kind == "huber":
        made["delta"] = config.take("delta", 1.0)
        if "delta" not in config.given:
            report.note(f"{pointer}: Keras does not write Huber's delta down; 1 is taken")
    if kind == "cross_entropy":
        made["label_smoothing"] = config.take("label_smoothing", 0.0)
    finish, logits = _FINISHES.get(kind), bool(config.take("from_logits", False))
    if finish is not None and logits == (last == finish):
        says = "expects logits, but the network ends with" if logits else "expects probabilities, but it ends without"
        report.fault(
            pointer, "untranslatable", f"the loss {says} {finish}", "Set from_logits to what the network gives."
        )
    config.rest()
    return made


_OPTIMIZERS = {"sgd": "sgd", "adam": "adam", "adamw": "adamw", "rmsprop": "rmsprop", "adagrad": "adagrad"}
_BETAS = {"beta1": ("beta_1", 0.9), "beta2": ("beta_2", 0.999), "epsilon": ("epsilon", 1e-7)}
_FIELDS: Mapping[str, Mapping[str, tuple[str, Any]]] = {
    "sgd": {"momentum": ("momentum", 0.0), "nesterov": ("nesterov", False)},
    "adam": _BETAS,
    "adamw": _BETAS | {"weight_decay": ("weight_decay", 0.004)},
    "rmsprop": {"rho": ("rho", 0.9), "momentum": ("momentum", 0.0), "epsilon": ("epsilon", 1e-7),
                "centered": ("centered", False)},
    "adagrad": {"epsilon": ("epsilon", 1e-7)},
}  # fmt: skip
_EPSILON = "Keras has epsilon elsewhere in the formula: steps differ where gradients are next to nothing"


def optimizer_of(given: Any, pointer: str, report: Report) -> Json | None:
    """A word, or an object with its settings."""
    kind = _OPTIMIZERS.get(class_of(given))
    if kind is None:
        report.fault(pointer, "untranslatable", f"no optimizer here is Keras' {shown(given)!r}", _WITHOUT)
        return None
    config = Config(settings_of(given), f"{pointer}/config", report)
    usual = 0.01 if kind == "sgd" else 0.001
    rate = config.take("learning_rate", usual)
    if not isinstance(rate, int | float) or isinstance(rate, bool):
        config.refuse("learning_rate", rate)
        rate = usual
    made: Json = {"kind": kind, "learning_rate": shortest(rate)}
    made |= {ours: config.take(theirs, value) for ours, (theirs, value) in _FIELDS[kind].items()}
    if kind == "adam" and config.take("weight_decay"):  # decoupled, whatever it is called
        made |= {"kind": "adamw", "weight_decay": config.take("weight_decay")}
    if kind == "adagrad":
        config.only((0, 0.0), initial_accumulator_value=0.1)
    made |= {"clip_norm": config.take("global_clipnorm"), "clip_value": config.take("clipvalue")}
    for name in ("ema_momentum", "ema_overwrite_frequency", "is_legacy_optimizer", "jit_compile", "decay"):
        config.take(name)
    if "epsilon" in made:
        report.note(f"{pointer}: {_EPSILON}")
    config.rest()
    return {name: value for name, value in made.items() if value is not None}
