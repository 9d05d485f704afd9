"""A recipe: everything that decides a training but the data; and what may be said about the training itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.engine.augmentation import Augmentation
from service.engine.contract import Signature, Spec
from service.engine.cut import roles
from service.engine.early_stopping import EarlyStopping
from service.engine.layers.dense import Dense
from service.engine.losses import Loss
from service.engine.network import Compiled, NetworkSpec
from service.engine.optimizers import Adam, Optimizer
from service.engine.row import RowPlan

POINTS = 2_000  # points of a series of batch losses when nothing else is asked
SHARD_ROWS = 512  # above this many rows a batch is cut, so that its activations stay in the cache
UNITS_ROWS = 128  # rows of a batch up to which two processes gain more by cut units than by cut rows
UNITS_FLOPS = 1.5e7  # operations of a step from which they gain half as much again and more; one alone loses a tenth
UNITS_WORK = 1e11  # operations of a training, a second, from which on a second process comes at all
SHARD_FLOPS = 1.5e8  # from so much work in a step on, two processes gain 40 %, where the cut costs one of them 10 %


class TrainingSpec(Spec):
    """How long, in what portions and from which seed. What is left out is filled in and echoed."""

    epochs: int = Field(default=10, ge=1, le=1_000_000, description="Passes over the training rows.")
    batch_size: int = Field(default=32, ge=1, le=1_000_000, description="Rows behind one step.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Decides every random choice.")
    shuffle: bool = Field(default=True, description="New order of the rows in every epoch.")
    stateful: bool = Field(
        default=False, description="The rows are windows of long streams: recurrent layers carry their state over."
    )
    augmentation: Annotated[tuple[Augmentation, ...], Field(strict=False, max_length=20)] = Field(
        default=(), description="Changes made to the training rows, in order, each time they are used."
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="Stop when nothing gets better.")
    max_seconds: float | None = Field(default=None, gt=0, le=1e8, description="Stop after this time.")
    max_steps: int | None = Field(default=None, ge=1, le=2**40, description="Stop after this many steps.")
    log_every: int | None = Field(default=None, ge=1, le=2**40, description="Steps between two points of batch_loss.")
    shards: int | None = Field(
        default=None, ge=1, le=1024,
        description="Fixed parts of a batch whose gradients are added in order: the same bits on any number of cores.",
    )  # fmt: skip
    cut: Literal["rows", "units"] | None = Field(
        default=None,
        description="What two processes share out: the rows of a batch, in shards, or the units of dense layers. "
        "Cut by units, a lone training of small batches gains most and one beside others loses a tenth.",
    )

    def steps(self, rows: int) -> int:
        """How many there are at most, of so many training rows."""
        steps = -(-rows // self.batch_size) * self.epochs
        return min(steps, self.max_steps or steps)


class Recipe(Spec):
    """A network, what it is to make small, how it moves, and how long."""

    network: NetworkSpec
    loss: Loss
    optimizer: Optimizer = Adam()
    training: TrainingSpec = TrainingSpec()
    metrics: Annotated[tuple[str, ...], Field(strict=False, max_length=20)] | None = Field(
        default=None, description="Scores beside the loss; accuracy for classes when nothing is said."
    )
    dtype: Literal["float32", "float64"] = Field(default="float32", description="Numbers to reckon with.")


def completed(recipe: Recipe, outputs: int) -> Recipe:
    """The same recipe with the `units` that a dense layer at the network's end leaves to the target."""
    layers = recipe.network.layers
    last = len(layers) - 1
    while last > 0 and layers[last].elementwise:
        last -= 1
    end = layers[last]
    if not isinstance(end, Dense) or end.units is not None or not all(each.elementwise for each in end.parts()[1:]):
        return recipe
    filled = end.model_copy(update={"units": recipe.loss.width(outputs)})
    network = recipe.network.model_copy(update={"layers": (*layers[:last], filled, *layers[last + 1 :])})
    return recipe.model_copy(update={"network": network})


def resolve(recipe: Recipe, signature: Signature, outputs: int, rows: int) -> Recipe:
    """The same recipe with every choice made that follows from itself and the number of rows."""
    given = recipe.training
    batch = max(1, rows if recipe.optimizer.whole_batch else min(given.batch_size, rows))
    steps = -(-rows // batch) * given.epochs
    steps = min(steps, given.max_steps or steps)
    net = Compiled(recipe.network, signature, recipe.dtype)
    least = 2 if 3 * batch * net.plan.flops >= SHARD_FLOPS else 1
    whole = net.plan.couples_rows or given.stateful
    shards = given.shards or (1 if whole else max(least, -(-batch // SHARD_ROWS)))
    cut = given.cut or ("units" if _by_units(recipe, net, signature, batch, steps) else "rows")
    shards = 1 if cut == "units" else shards
    chosen = given.model_copy(
        update={
            "batch_size": batch,
            "shards": min(shards, batch),
            "cut": cut,
            "log_every": given.log_every or max(1, -(-steps // POINTS)),
        }
    )
    return recipe.model_copy(update={"training": chosen, "metrics": measured(recipe)})


def _by_units(recipe: Recipe, net: Compiled, signature: Signature, batch: int, steps: int) -> bool:
    """Whether units are cut when nothing is said."""
    work = 3.0 * batch * net.plan.flops
    worth = batch <= UNITS_ROWS and work >= UNITS_FLOPS and steps * work >= UNITS_WORK
    return worth and recipe.training.shards is None and divisible(recipe, net.plan, signature)


def divisible(recipe: Recipe, row: RowPlan, signature: Signature) -> bool:
    """Whether the network can be cut by units."""
    if signature.timed or recipe.training.stateful or recipe.optimizer.clip_norm is not None:
        return False
    return roles(row) is not None


def measured(recipe: Recipe) -> tuple[str, ...]:
    """The scores beside the loss."""
    usual = ("accuracy",) if recipe.loss.target in ("class", "binary") else ()
    return usual if recipe.metrics is None else recipe.metrics
