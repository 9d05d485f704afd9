"""Predictions that say more: the logits behind them, and what layers inside of the network gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.data import Preprocessor
from service.engine import Network
from service.errors import Fault, InvalidSpec, TooLarge, did_you_mean
from service.serving.calibration import tempered
from service.serving.registry import RowModel, Served
from service.serving.sequences import SequenceNetwork
from service.tensors import Array

MOST_NUMBERS = 4_000_000  # of layers in one answer
Layer = int | str


@dataclass(frozen=True, slots=True)
class Detail:
    """What an answer says beside its label or value.

    `layers`: by number, or by kind where one layer alone is of it. `temperature`: what probabilities are tempered by.
    """

    top_k: int | None = None
    probabilities: bool = True
    logits: bool = False
    layers: tuple[Layer, ...] = ()
    temperature: float = 1.0


PLAIN = Detail()


def detailed(served: Served, rows: Sequence[Any], detail: Detail) -> list[dict[str, Any]]:
    """One answer a row. Raises InvalidData with every fault, its pointer from /rows/..., InvalidSpec, TooLarge."""
    model = served.rows()
    check(model, detail, len(rows))
    return answered(model, model.preprocessor.rows(rows), detail)


def answered(model: RowModel, x: Array, detail: Detail) -> list[dict[str, Any]]:
    """The answers to prepared rows; the detail must have been checked."""
    preprocessor, network = model.preprocessor, model.network
    y = network(x)
    if detail.temperature != 1.0:
        y = tempered(y, detail.temperature)
    answers: list[dict[str, Any]] = preprocessor.answers(y, detail.top_k)
    if not detail.probabilities:
        answers = [{name: each[name] for name in each if name != "probabilities"} for each in answers]
    if detail.logits:
        _add_logits(answers, network.logits()(x), preprocessor)
    for name in detail.layers:
        for answer, given in zip(answers, network.layer(place(network, name))(x), strict=True):
            answer.setdefault("layers", {})[str(name)] = _listed(given)
    return answers


def check(model: RowModel, detail: Detail, rows: int) -> None:
    """Raises InvalidSpec with every fault of the detail, TooLarge when the answer would be."""
    faults = []
    if detail.logits and model.preprocessor.classes is None:
        faults.append(Fault("/logits", "no_logits", "a model of numbers has no logits"))
    if detail.temperature != 1.0 and not model.preprocessor.one_of:
        faults.append(Fault("/temperature", "no_classes", "only models of classes have a temperature"))
    for at, name in enumerate(detail.layers):
        try:
            place(model.network, name)
        except InvalidSpec as error:
            faults.append(Fault(f"/layers/{at}", "unknown_layer", error.message, error.hint, model.network.layers[:20]))
    if faults:
        raise InvalidSpec(faults[0].message, hint=faults[0].hint, faults=faults)
    numbers = rows * sum(model.network.size(place(model.network, name)) for name in detail.layers)
    if numbers > MOST_NUMBERS:
        raise TooLarge(f"the layers of so many rows are {numbers:,} numbers; an answer may have {MOST_NUMBERS:,}")


def place(network: Network | SequenceNetwork, name: Layer) -> int:
    """The number of a layer. Raises InvalidSpec when there is none such, or the kind alone does not tell which."""
    kinds = network.layers
    if isinstance(name, int):
        if 0 <= name < len(kinds):
            return name
        raise InvalidSpec(f"no layer {name}", hint=f"The layers are 0 to {len(kinds) - 1}.")
    found = [at for at, kind in enumerate(kinds) if kind == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidSpec(f"several layers are {name}", hint=f"Give a number: {', '.join(map(str, found))}.")
    raise InvalidSpec(f"no layer {name!r}", hint=did_you_mean(name, kinds))


def _add_logits(answers: list[dict[str, Any]], logits: Array, preprocessor: Preprocessor) -> None:
    names = preprocessor.classes or ()
    told = names[-1:] if logits.reshape(len(logits), -1).shape[1] == 1 else names  # of two classes, the second's alone
    for answer, row in zip(answers, logits.reshape(len(logits), -1), strict=True):
        answer["logits"] = dict(zip(told, _listed(row), strict=True))


def _listed(values: Array) -> Any:
    """Nested lists; what is not finite is None."""
    if np.isfinite(values).all():
        return values.tolist()
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()
