"""Which loss a job means when it does not say: told by the network's end and the column it is to learn."""

from __future__ import annotations

from contextlib import suppress

from pydantic import TypeAdapter

from service.data import DatasetSpec, Description, outline
from service.engine import Loss, NetworkSpec
from service.errors import InvalidSpec

_LOSS: TypeAdapter[Loss] = TypeAdapter(Loss)
_FEW, _OFTEN = 20, 5  # so few whole numbers, each so often on average, look like classes


def loss_for(network: NetworkSpec, dataset: DatasetSpec, description: Description) -> Loss:
    """A softmax at the end means classes, a single sigmoid yes or no; else the target column decides."""
    activation = getattr(network.layers[-1].parts()[-1], "kind", None)
    end = next((each for each in reversed(network.layers) if not each.elementwise), None)
    units = getattr(end, "units", None)
    if activation == "softmax":
        return _loss("cross_entropy")
    if activation == "sigmoid" and (units == 1 or _are_binary(description, dataset, alone=units is None)):
        return _loss("binary_cross_entropy")
    try:
        found = outline(description, dataset, "number")
    except InvalidSpec:  # words are to be learned; whatever else is wrong will be said again
        return _loss("binary_cross_entropy" if units == 1 else "cross_entropy")
    names = found.spec.targets or []
    column = next(each for each in description.columns if each.name == names[0])
    numbered = len(names) == 1 and column.integer and column.classes is not None
    if numbered and units is not None and units > 1 and len(column.classes or ()) == units:
        return _loss("cross_entropy")
    return _loss("squared_error")


def _are_binary(description: Description, dataset: DatasetSpec, *, alone: bool) -> bool:
    """Whether sigmoids tell yes or no: of one target, whose faults are told then, or of several labels."""
    if alone and not isinstance(dataset.target, list):
        return True
    with suppress(InvalidSpec):
        return outline(description, dataset, "binary").outputs > 1
    return False


def doubts(loss: Loss, dataset: DatasetSpec, description: Description) -> list[str]:
    """Warns of a target that may be classes, although nothing said so and `loss_for` made numbers of it."""
    names = dataset.targets or []
    column = next((each for each in description.columns if [each.name] == names), None)
    if loss.target != "number" or column is None or not column.integer or column.classes is None:
        return []
    count = len(column.classes)
    if not 1 < count <= _FEW or description.rows < _OFTEN * count:
        return []
    return [f"{column.name!r} is learned as a number; if its {count} different values are classes, end with softmax"]


def _loss(kind: str) -> Loss:
    return _LOSS.validate_python({"kind": kind})
