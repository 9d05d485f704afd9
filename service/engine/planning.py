"""The dry run: shapes, parameters and bytes of a recipe, or every fault in it; nothing is allocated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.engine.arena import HUGE
from service.engine.augmentation import augmenting, misfits
from service.engine.contract import Shape, Signature
from service.engine.doubts import doubts
from service.engine.early_stopping import unmeasured
from service.engine.evaluate import CHUNK_ROWS
from service.engine.network import kind_of, shape_of
from service.engine.parallel import LANES
from service.engine.program import slots_of
from service.engine.recipe import Recipe, divisible, measured, resolve
from service.engine.row import RowPlan, Unfits, fuse, plan_row
from service.engine.scores import fitting, meant
from service.engine.shards import shard_sizes
from service.errors import Fault, InvalidSpec, TooLarge

MOST_PARAMETERS = 2**40


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer of a plan; shapes are of one row."""

    index: int
    kind: str
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe would need. `bytes`: peak of the arrays of a run, the rows included; flops: forward, one row."""

    layers: tuple[PlannedLayer, ...]
    parameters: int
    bytes: int
    flops_per_row: int
    warnings: tuple[str, ...]


def plan(recipe: Recipe, signature: Signature, outputs: int, rows: int, max_bytes: int | None = None) -> Plan:
    """Raises InvalidSpec with every fault at its place, TooLarge when it would need more than `max_bytes`."""
    shape = shape_of(signature)
    try:
        row = plan_row(recipe.network.layers, shape)
    except Unfits as unfits:
        faults = [Fault(f"/network/layers/{index}{fault.place}", fault.code, fault.message, fault.hint)
                  for index, fault in unfits.faults]  # fmt: skip
        raise _refused([*faults, *_other_faults(recipe, shape, outputs)]) from None
    faults = [*_end_faults(recipe, row, outputs), *_other_faults(recipe, shape, outputs)]
    faults += _cut_faults(recipe, row, signature)
    if faults:
        raise _refused(faults)
    layers = _layers(recipe, row)
    parameters = sum(each.parameters for each in layers)
    needed = _bytes(recipe, signature, row, outputs, rows) if parameters <= MOST_PARAMETERS else 4 * parameters
    if parameters > MOST_PARAMETERS or (max_bytes is not None and needed > max_bytes):
        raise _too_large(layers, needed, max_bytes)
    return Plan(layers, parameters, needed, row.flops, tuple(doubts(recipe, row, rows, outputs)))


def _refused(faults: list[Fault]) -> InvalidSpec:
    return InvalidSpec(faults[0].message if len(faults) == 1 else f"{len(faults)} faults", faults=faults)


def _layers(recipe: Recipe, row: RowPlan) -> tuple[PlannedLayer, ...]:
    found = []
    for index, layer in enumerate(recipe.network.layers):
        mine = [part for part in row.parts if part.index == index]
        count = sum(each.size for part in mine for each in part.plan.parameters if each.trained)
        found.append(PlannedLayer(index, kind_of(layer), mine[0].shape.dims, mine[-1].plan.shape.dims, count))
    return tuple(found)


def _end_faults(recipe: Recipe, row: RowPlan, outputs: int) -> list[Fault]:
    """The last layer must give what the loss needs."""
    width, dims = recipe.loss.width(outputs), row.out.dims
    last = len(recipe.network.layers) - 1
    pointer = f"/network/layers/{last}"
    if hasattr(recipe.network.layers[last], "units"):
        pointer += "/units"
    if not dims or dims[-1] != width:
        given = dims[-1] if dims else 0
        what = {"class": f"{outputs} classes", "binary": "yes or no" if outputs == 1 else f"{outputs} labels",
                "number": f"{outputs} targets", "distribution": f"{outputs} outcomes"}[recipe.loss.target]  # fmt: skip
        message = f"the last layer gives {given} numbers, but {recipe.loss.name} of {what} needs {width}"
        return [Fault(pointer, "output_misfit", message, f"end with {width} units")]
    if len(dims) > 2 or (len(dims) == 2 and not row.shape.timed and row.shape.vocabulary is None):
        message = f"the last layer gives {list(dims)} numbers a row, not {width}"
        return [Fault(pointer.removesuffix("/units"), "output_misfit", message, "put a flatten before the last dense")]
    return []


def _other_faults(recipe: Recipe, shape: Shape, outputs: int) -> list[Fault]:
    """Faults that do not hang on shapes."""
    faults = []
    misfit = recipe.loss.fault(outputs)
    if misfit is not None:
        faults.append(Fault(f"/loss{misfit[0]}", "loss_misfit", misfit[1]))
    allowed = fitting(recipe.loss.target)
    for index, name in enumerate(recipe.metrics or ()):
        if name not in allowed:
            message = f"{name!r} is not a score for {recipe.loss.name}"
            faults.append(Fault(f"/metrics/{index}", "unknown_metric", message, meant(name, allowed), allowed))
    faults += _monitor_faults(recipe)
    for index, fault in misfits(recipe.training.augmentation, shape, recipe.loss):
        pointer = f"/training/augmentation/{index}{fault.place}"
        faults.append(Fault(pointer, "unfit", fault.message, fault.hint))
    if recipe.training.stateful and (recipe.training.shards or 1) > 1:
        faults.append(Fault("/training/shards", "unfit", "streams that carry their state cannot be cut into shards"))
    if recipe.training.cut == "units" and (recipe.training.shards or 1) > 1:
        faults.append(Fault("/training/shards", "unfit", "units are cut here: the rows of a batch stay together"))
    return faults


def _cut_faults(recipe: Recipe, row: RowPlan, signature: Signature) -> list[Fault]:
    """Cutting by units, where that is asked for."""
    if recipe.training.cut != "units" or divisible(recipe, row, signature):
        return []
    message = "only dense layers, two at least, can be cut by units, with activations and dropout between them"
    return [Fault("/training/cut", "unfit", message, "leave it out, and no clip_norm where units are to be cut")]


def _monitor_faults(recipe: Recipe) -> list[Fault]:
    """Early stopping must watch what is measured."""
    early = recipe.training.early_stopping
    if early is None:
        return []
    place = "/training/early_stopping/monitor"
    fault = unmeasured(early.monitor, measured(recipe), recipe.loss.target, place, "metrics")
    return [] if fault is None else [fault]


def _bytes(recipe: Recipe, signature: Signature, row: RowPlan, outputs: int, rows: int) -> int:
    """Peak of a run: vectors, once more for a checkpoint; programs, the larger ones with half a huge page that
    their end leaves over on average; the rows. Python whole numbers, any size."""
    size = np.dtype(recipe.dtype).itemsize
    settled = resolve(recipe, signature, outputs, rows).training
    trained = sum(each.size for each in row.parameters if each.trained)
    kept = sum(each.size for each in row.parameters if not each.trained)
    vectors = 3 + len(recipe.optimizer.slots)  # theta, gradient, best, and what the optimizer remembers
    shards, by_units = settled.shards or 1, settled.cut == "units"
    lanes = len(LANES) if by_units else min(shards, len(LANES))  # each may be a process, with a program of its own
    shard = shard_sizes(settled.batch_size, shards)[0]
    raw = np.dtype(signature.dtype).itemsize
    data = rows * (row.shape.size * raw + 4 * max(1, recipe.loss.width(outputs)))
    numbers = (2 * vectors + (2 * lanes if shards > 1 else 0)) * trained + (4 + 2 * lanes) * kept
    bound, scored = fuse(row), min(rows, settled.batch_size if settled.stateful else CHUNK_ROWS)
    numbers += (vectors - 1) * trained if by_units else 0  # the lanes' own halves, of all but the best
    numbers += augmenting(settled.augmentation, row.shape, shard)
    programs = [size * (bound.memory(shard, True) + 2 * shard * bound.widest)] * lanes
    programs.append(size * bound.memory(scored, False))
    ends = (lanes if by_units else shards) * _ends(row, shard, size, raw) + _ends(row, scored, size, raw)
    return size * numbers + data + ends + sum(each + HUGE // 2 * (each >= HUGE) for each in programs)


def _ends(row: RowPlan, rows: int, size: int, raw: int) -> int:
    """Bytes of a program's input and output slots."""
    fed, held = slots_of(row, rows, size)
    inputs = fed * row.shape.size * (size + raw)
    return rows * (inputs + row.out.size * (size * (fed + held + 4) + 8 * held))


def _too_large(layers: tuple[PlannedLayer, ...], needed: int, allowed: int | None) -> TooLarge:
    worst = max(layers, key=lambda each: each.parameters)
    message = f"this training would need {needed:,} bytes" + (f", and {allowed:,} are allowed" if allowed else "")
    fault = Fault(f"/network/layers/{worst.index}", "too_large", f"{worst.parameters:,} parameters in this layer")
    return TooLarge(message, hint="fewer units, or a smaller batch_size", faults=[fault])
