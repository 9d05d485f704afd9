"""A network that learns a text letter by letter: what its spec means when it does not say."""

from __future__ import annotations

from pydantic import TypeAdapter

from service import engine
from service.data import Outline, outline_letters
from service.engine import Loss, Recipe, Signature, stream_faults
from service.errors import Fault, InvalidSpec
from service.specs.dataset import Source
from service.specs.job import TrainSpec

SCORES = ["accuracy", "perplexity", "bits_per_character"]
_LOSS: TypeAdapter[Loss] = TypeAdapter(Loss)


def letters(spec: TrainSpec, data: Source, validation: Source | None, test: Source | None) -> tuple[TrainSpec, Outline]:
    """The spec with its defaults, and what the network will see.

    Cross entropy; perplexity and bits beside accuracy; `stateful`: streams side by side through the text, so rows stay
    in order, unless `stateful` is false or a `shuffle` is asked for. Raises InvalidSpec.
    """
    held, last = (None if part is None else part.open() for part in (validation, test))
    found = outline_letters(data.open(), spec.dataset, validation=held, test=last)
    loss = spec.loss or _LOSS.validate_python({"kind": "cross_entropy"})
    if loss.target != "class":
        message = f"the next letter is a class, which {loss.kind} does not learn"
        raise InvalidSpec(message, faults=[Fault("/loss", "loss_misfit", message, "use cross_entropy")])
    said, training = spec.training.model_fields_set, spec.training
    stateful = training.stateful if "stateful" in said else not ("shuffle" in said and training.shuffle)
    ordered = {"stateful": stateful, "shuffle": training.shuffle and not stateful}
    metrics = SCORES if spec.metrics is None else spec.metrics
    update = {"loss": loss, "metrics": metrics, "training": training.model_copy(update=ordered)}
    return spec.model_copy(update=update), found


def check_letters(recipe: Recipe, signature: Signature, outputs: int, rows: int) -> None:
    """Every layer must be able to go through a text step by step. Raises InvalidSpec with all faults of the network."""
    found = stream_faults(recipe.network.layers)
    if not found:
        return
    seen = {fault.pointer for fault in found}
    try:
        engine.plan(recipe, signature, outputs, rows)
    except InvalidSpec as error:
        found += [fault for fault in error.faults if fault.pointer not in seen]
    raise InvalidSpec(found[0].message, hint=found[0].hint, faults=found)
