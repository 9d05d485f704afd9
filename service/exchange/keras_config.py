"""A Keras object's settings while they are read: each is taken by its name, and what nobody takes must say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.errors import Fault

NOTHING: tuple[Any, ...] = (None, False, 0, 0.0, "", [], {})
LARGEST = 1e30  # beyond it no float32 is looked for
PASSING = frozenset({
    "name", "seed", "unroll", "implementation", "zero_output_for_mask", "time_major", "use_cudnn", "renorm_momentum",
    "fused", "input_length", "input_dim", "batch_input_shape", "input_shape", "batch_shape",
})  # fmt: skip
"""Settings that change no number, or stand beside one that says the same."""
_LEAVE = "Change it in the model, or export the trained model as ONNX."
_HINTS = {
    "regularizer": "Take it out, and set weight_decay or l1 of the optimizer here: they hold for all layers.",
    "constraint": "Take it out; clip_norm and clip_value of the optimizer hold gradients here.",
    "trainable": "All layers learn here.",
    "dropout": "Put a dropout layer before it.",
    "mask_zero": "Rows of different lengths are told by the data set here, not by an id.",
    "reset_after": "Only reset_after=True is known: the form of cuDNN and PyTorch.",
    "go_backwards": "Use Bidirectional, or turn the rows round.",
    "data_format": 'Use "channels_last".',
    "axis": "Use -1: channels are last here.",
    "dtype": "float32 is what a spec reckons with, or its own dtype float64.",
    "learning_rate": "Give a number, and set the optimizer's schedule here.",
}


@dataclass
class Report:
    """What was found on the way: faults that refuse the model, and notes on what begins otherwise.

    `rank`: how many axes flow, the batch among them, `channels`: the length of the last; None when nobody said.
    """

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rank: int | None = None
    channels: int | None = None

    def fault(
        self, pointer: str, code: str, message: str, hint: str | None = None, allowed: Sequence[str] = ()
    ) -> None:
        self.faults.append(Fault(pointer, code, message, hint, tuple(allowed)))

    def note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)


@dataclass
class Config:
    """The settings of one object, found at `pointer`."""

    given: Mapping[str, Any]
    pointer: str
    report: Report
    known: set[str] = field(default_factory=set)

    def take(self, name: str, usual: Any = None) -> Any:
        self.known.add(name)
        return self.given.get(name, usual)

    def only(self, allowed: Sequence[Any], **settings: Any) -> None:
        """The settings, given with their defaults, must be one of these values."""
        for name, usual in settings.items():
            value = self.take(name, usual)
            if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
                self.refuse(name, value)

    def rest(self) -> None:
        """To be called last."""
        self.only((True,), trainable=True)
        policy = self.take("dtype", "float32")
        policy = settings_of(policy).get("name") if isinstance(policy, Mapping) else policy
        if policy not in (None, "float32", "int32", "int64"):
            self.refuse("dtype", policy)
        for name, value in self.given.items():
            if name not in self.known | PASSING and value not in NOTHING:
                self.refuse(name, value)

    def refuse(self, name: str, value: Any) -> None:
        shown = value.get("class_name", "an object") if isinstance(value, Mapping) else value
        hint = _HINTS.get(name, _HINTS.get(name.rpartition("_")[2], _LEAVE))
        message = f"{name} = {str(shown)[:60]!r} has no counterpart here"
        self.report.fault(f"{self.pointer}/{name}", "untranslatable", message, hint)


def settings_of(value: Any) -> Mapping[str, Any]:
    """An object's settings; a word has none."""
    given = value.get("config") if isinstance(value, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def class_of(value: Any) -> str:
    """An object's class, or a word's, as one spelling: GlorotUniform and glorot_uniform are glorotuniform."""
    name = value.get("class_name") if isinstance(value, Mapping) else value
    return name.replace("_", "").lower() if isinstance(name, str) else ""


def shown(value: Any) -> str:
    """An object or a word as a message shows it."""
    return str(value.get("class_name") if isinstance(value, Mapping) else value)[:60]


def shortest(number: float) -> float:
    """Keras writes float32 at full length: 0.001 comes as 0.0010000000474974513."""
    return float(str(np.float32(number))) if -LARGEST < number < LARGEST else number


_STARTS = {"glorotuniform": "glorot", "henormal": "he", "orthogonal": "orthogonal", "zeros": "zeros"}
_ALIKE = {"heuniform": "he"}


def start(config: Config, name: str = "kernel_initializer", usual: str = "glorot_uniform") -> str:
    """The word for the weights' beginning; what has no word begins as glorot, which a note tells."""
    value = config.take(name, usual)
    kind = class_of(value)
    found = _STARTS.get(kind) or _ALIKE.get(kind, "glorot")
    if kind not in _STARTS:
        config.report.note(f"{config.pointer}/{name}: begins as {found}, not as {shown(value)}")
    return found


def begins(config: Config, **fixed: str) -> None:
    """Start values that nothing says here."""
    for name, usual in fixed.items():
        value = config.take(name, usual)
        if class_of(value) != class_of(usual):
            config.report.note(f"{config.pointer}/{name}: begins as {usual}, not as {shown(value)}")


def each_axis(value: Any) -> Any:
    """A size: one number, or one for each axis."""
    return list(value) if isinstance(value, list | tuple) else value
